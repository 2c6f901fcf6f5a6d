"""Figs. 6 and 7: one pair through several methods, as a record of one slice and as a picture made of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from autofuse_jax.configs.comparison.rows import find_row
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy import ndimage

from autofuse_jax.data.prepared import load_frame
from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.runs import Sources
from autofuse_jax.files import json_types, replacing, write_json
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.metrics.warping import warp_image, warp_labels
from autofuse_jax.provenance import provenance
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.reports.colours import FIXED_OUTLINE, PALETTE
from autofuse_jax.reports.panels import window_of
from autofuse_jax.training.network_runs import open_network
from experiments.paper.networks import NamedNetwork, Plane, bytes_of, chosen_pair, data_words, plane_of_labels
from experiments.paper.outputs import PaperFigure

RECORD = 'paper_pair.json'
BEFORE, INSTANCE = 'before registration', 'instance optimisation'
FIXED, LABELS, IMAGE = 'fixed', 'labels', 'image'
# Voxels around the labels that are drawn, and over which methods are compared to find where they differ most.
MARGIN, NEIGHBOURHOOD = 14, 9
MOST_COLUMNS = 6
NOTES = (
    'Above: the moving image after registration, its labels in colour, those of the fixed image in pale blue. Below: '
    'where the labels differ from those of the fixed image; a cleaner map is a better registration. The ring marks the '
    'place where the methods differ most from each other.',
)


def measure_pair(networks: Sequence[NamedNetwork], record: Path, pair: str | None) -> None:
    """Register one pair by every network and by instance optimisation, and write one slice of all results.

    Args:
        networks: Networks on the same data: released weights or folders of runs.
        record: JSON file to write; its arrays go beside it.
        pair: Name of the pair; None: the first.

    Raises:
        UserError: The pair has no labels, or the networks are on different data.
    """
    first = networks[0]
    if any(one.manifest.root != first.manifest.root or one.split != first.split for one in networks):
        raise UserError('the networks are on different data', expected='one pair through all', fix='give one --data')
    pairs = first.pairs
    position = chosen_pair(pairs, pair)
    chosen = pairs[position]
    fixed, moving = load_frame(first.manifest, chosen.fixed), load_frame(first.manifest, chosen.moving)
    if fixed.labels is None or moving.labels is None:
        raise UserError(f'{chosen.name} has no labels to compare', fix='choose another as --pair')
    structures = tuple(label for label in first.manifest.classes if label)
    plane, window = plane_of_labels(fixed.affine, fixed.labels), window_of(fixed.image)
    images = {f'{FIXED}_{IMAGE}': bytes_of(plane.cut(fixed.image), window), f'{FIXED}_{LABELS}': _small(plane, fixed)}
    methods = []
    for number, (title, image, labels) in enumerate(_results(networks, fixed, moving, chosen.name)):
        images[f'{number}_{IMAGE}'] = bytes_of(plane.cut(image), window)
        images[f'{number}_{LABELS}'] = plane.cut(labels).astype(np.uint8)
        dice = mean_over_structures(dice_per_label(fixed.labels, labels, structures))
        methods.append({'title': title, 'dsc': dice})
    with replacing(record.with_suffix('.npz')) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **images)
    about = {'pair': chosen.name, 'data': data_words(first), 'kind': first.manifest.dataset, 'methods': methods}
    write_json(record, json_types(provenance() | about))


def _results(networks: Sequence[NamedNetwork], fixed: Volume, moving: Volume, pair: str):
    """Yield title, image and labels on the fixed grid: before registration, of each network, of the instance."""
    before = move_volume(moving, fixed.grid)
    yield BEFORE, before.image, before.labels
    for network in networks:
        run = open_network(network.path, network.name, Sources(data=network.manifest.root, split=network.split))
        case = next(one for one in run.cases if one.name == pair)
        displacement = case.load().displacement
        yield _title(network.name), warp_image(moving.image, displacement), warp_labels(moving.labels, displacement)
    result = register_volumes(fixed, moving, guide=None)
    yield INSTANCE, result.moved, result.moved_labels


def pair_figure(record: Mapping[str, Any], arrays: Path) -> list[PaperFigure]:
    """Return the picture of one pair through all methods.

    Args:
        record: Result of `measure_pair`.
        arrays: Its arrays.

    Raises:
        UserError: The arrays are missing, or are not those of the record.
    """
    wanted = [f'{key}_{part}' for key in (FIXED, *range(len(record['methods']))) for part in (IMAGE, LABELS)]
    images = read_arrays(arrays, wanted, record['command'])
    number = 7 if record['kind'] in ('acdc', 'phantom') else 6
    best = max(record['methods'], key=lambda method: method['dsc'])
    return [
        PaperFigure(
            f'figure{number}_{record["kind"]}',
            f'Fig. {number}: one pair through all methods ({record["pair"].replace("_", " ")})',
            lambda: draw_pair(record['methods'], images),
            (*NOTES, f'The best overlap of this pair has {best["title"]}.'),
            {
                'command': f'`{record["command"]}`',
                'data': record['data'],
                'date': record['date'][:10],
                'commit': record['commit'],
            },
        )
    ]


def read_arrays(path: Path, names: Sequence[str], command: str) -> dict[str, np.ndarray]:
    """Read the arrays that a picture is made of.

    Args:
        path: npz file.
        names: Names of the arrays that must be there.
        command: Command that makes it.

    Raises:
        UserError: There is no such file, it is damaged, or an array is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f'the arrays {path} cannot be read ({error})', fix=f'make them again: {command}') from error
    missing = [name for name in names if name not in stored]
    if missing:
        raise UserError(f'{path} lacks {", ".join(missing[:4])}', fix=f'make it again: {command}')
    return stored


def draw_pair(methods: Sequence[Mapping[str, Any]], images: Mapping[str, np.ndarray]) -> Figure:
    """Draw the fixed image and every method: the image after registration above the map of wrong labels.

    Args:
        methods: 'title' and 'dsc' of each.
        images: Slices by 'fixed_image', 'fixed_labels', '0_image', '0_labels' and so on.
    """
    fixed = images[f'{FIXED}_{LABELS}']
    inner = box_around(fixed > 0)
    fixed = fixed[inner]
    labels = [images[f'{number}_{LABELS}'][inner] for number in range(len(methods))]
    # What all get wrong tells nothing about them; before registration is no method.
    place = where_they_differ(labels[1:] if len(labels) > 2 else labels, fixed)
    columns = min(MOST_COLUMNS, len(methods) + 1)
    blocks = -(-(len(methods) + 1) // columns)
    ratio = fixed.shape[0] / fixed.shape[1]
    figure = Figure(figsize=(2.1 * columns, blocks * (4.2 * ratio + 0.7)), layout='constrained')
    panels = figure.subplots(2 * blocks, columns, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    _show(panels[0, 0], images[f'{FIXED}_{IMAGE}'][inner], fixed, fixed, 'fixed image')
    for number, (method, after) in enumerate(zip(methods, labels, strict=True), 1):
        row, column = 2 * (number // columns), number % columns
        title = f'{method["title"]}\nDSC {100 * method["dsc"]:.1f} %'
        _show(panels[row, column], images[f'{number - 1}_{IMAGE}'][inner], after, fixed, title)
        _show_errors(panels[row + 1, column], fixed, after)
        for axes in panels[row : row + 2, column]:
            axes.plot(*place, 'o', markersize=17, markerfacecolor='none', markeredgecolor='white', markeredgewidth=2.6)
            axes.plot(*place, 'o', markersize=17, markerfacecolor='none', markeredgecolor='black', markeredgewidth=1.1)
    return figure


def where_they_differ(labels: Sequence[np.ndarray], fixed: np.ndarray) -> tuple[float, float]:
    """Return the column and row around which methods differ most in where they are right.

    Args:
        labels: Labels (H, W) that each method gives.
        fixed: Labels that they should give.
    """
    right = np.mean([after == fixed for after in labels], axis=0)
    spread = ndimage.uniform_filter(right * (1 - right), NEIGHBOURHOOD, mode='constant')
    row, column = np.unravel_index(int(np.argmax(spread)), spread.shape)
    return float(column), float(row)


def box_around(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the box around what is true in a plane, with `MARGIN` on each side; all of it where nothing is."""
    if not mask.any():
        return slice(None), slice(None)
    boxes = []
    for axis in range(2):
        places = np.flatnonzero(mask.any(1 - axis))
        boxes.append(slice(max(0, places[0] - MARGIN), places[-1] + MARGIN + 1))
    return boxes[0], boxes[1]


def draw_outlines(axes: Axes, labels: np.ndarray, colours: Sequence[str] | str, width: float) -> None:
    """Draw the borders of the labels of a plane, in their own colours or all in one."""
    for label in np.unique(labels[labels > 0]):
        colour = colours if isinstance(colours, str) else colours[(int(label) - 1) % len(colours)]
        axes.contour(labels == label, levels=[0.5], colors=[colour], linewidths=width)


def _show(axes: Axes, image: np.ndarray, labels: np.ndarray, fixed: np.ndarray, title: str) -> None:
    axes.imshow(image, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
    if labels is not fixed:
        draw_outlines(axes, fixed, FIXED_OUTLINE, 0.7)
    draw_outlines(axes, labels, PALETTE[1:], 1.2)
    axes.set_title(title, fontsize=8.5)


def _show_errors(axes: Axes, fixed: np.ndarray, labels: np.ndarray) -> None:
    """Pixels with a wrong label in the colour of the label that they should have; background in grey."""
    colours = ListedColormap(['0.55', *PALETTE[1:]])
    wrong = np.ma.masked_where(
        labels == fixed, np.where(fixed > 0, (fixed.astype(int) - 1) % (len(PALETTE) - 1) + 1, 0)
    )
    axes.imshow(np.ones_like(fixed), cmap='gray', vmin=0, vmax=1)
    axes.imshow(wrong, cmap=colours, vmin=-0.5, vmax=len(PALETTE) - 0.5, interpolation='nearest')
    draw_outlines(axes, fixed, '0.75', 0.6)


def _small(plane: Plane, volume: Volume) -> np.ndarray:
    return plane.cut(volume.labels).astype(np.uint8)


def _title(name: str) -> str:
    try:
        return find_row(name.removesuffix('_published')).title
    except UserError:
        return name.replace('_', ' ')
