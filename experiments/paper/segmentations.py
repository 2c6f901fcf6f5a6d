"""Fig. A2: what a semi-supervised network segments beside the manual segmentation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from autofuse_jax.data.prepared import load_frame
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.case_scores import score_cases
from autofuse_jax.evaluation.runs import Sources
from autofuse_jax.files import json_types, replacing, write_json
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.colours import PALETTE
from autofuse_jax.reports.panels import window_of
from autofuse_jax.training.network_runs import open_network
from autofuse_jax.training.validation import training_protocol
from experiments.paper.networks import NamedNetwork, bytes_of, data_words, plane_of_labels
from experiments.paper.outputs import PaperFigure, PaperTable
from experiments.paper.pictures import box_around, draw_outlines, read_arrays
from experiments.paper.printed import printed_values

RECORD = 'paper_segmentations.json'
SHOWN = 4
PARTS = ('image', 'manual', 'predicted')
NOTE = (
    'Each frame once, as the fixed image of a pair; the slice with most labels. The paper scored other patients (ACDC '
    'test set) and OASIS, whose numbers stand in the table.'
)


def measure_segmentations(networks: Sequence[NamedNetwork], record: Path, pair: str | None) -> None:
    """Segment the fixed images of a split, and write their DSC and a slice of some.

    Args:
        networks: One network with a segmentation.
        record: JSON file to write; its arrays go beside it.
        pair: Without effect.

    Raises:
        UserError: The network segments nothing, or several are given.
    """
    del pair
    if len(networks) != 1:
        raise UserError('several networks for figureA2', expected='one that segments', fix='give one to --networks')
    network = networks[0]
    frames = {one.name: one.fixed for one in network.pairs}
    images: dict[str, np.ndarray] = {}
    names: list[str] = []

    def keep(case: Any, data: Any, records: Any) -> None:
        del records
        if data.segmentation is None or case.group in {name.rpartition(' ')[0] for name in names}:
            return
        if len(names) < SHOWN:
            frame = frames[case.name]
            volume = load_frame(network.manifest, frame)
            plane, window = plane_of_labels(volume.affine, data.segmentation.labels), window_of(volume.image)
            cuts = (
                bytes_of(plane.cut(volume.image), window),
                plane.cut(data.segmentation.labels).astype(np.uint8),
                plane.cut(data.segmentation.predicted).astype(np.uint8),
            )
            images.update({f'{len(names)}_{part}': cut for part, cut in zip(PARTS, cuts, strict=True)})
            names.append(f'{case.group} {frame.phase or frame.index}')

    run = open_network(network.path, network.name, Sources(data=network.manifest.root, split=network.split))
    scored = score_cases(run.cases, (training_protocol(),), keep)['training']
    if not names:
        raise UserError(f'{network.path} segments nothing', fix='give a semi-supervised network to --networks')
    by_frame = {(one['subject'], one['fixed_frame']): one for one in scored}
    with replacing(record.with_suffix('.npz')) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **images)
    about = {
        'weights': network.name,
        'data': data_words(network),
        'kind': network.manifest.dataset,
        'classes': {str(label): name for label, name in network.manifest.classes.items() if label},
        'shown': names,
        'frames': [
            {
                'subject': one['subject'],
                'dsc': one['segmentation_dsc'],
                'dsc_per_label': {str(label): value for label, value in one[_per_label(one)].items()},
            }
            for one in by_frame.values()
        ],
    }
    write_json(record, json_types(provenance() | about))


def segmentation_outputs(record: Mapping[str, Any], arrays: Path) -> list[PaperFigure | PaperTable]:
    """Return Fig. A2 and its numbers.

    Args:
        record: Result of `measure_segmentations`.
        arrays: Its arrays.

    Raises:
        UserError: The arrays are missing, or are not those of the record.
    """
    wanted = [f'{number}_{part}' for number in range(len(record['shown'])) for part in PARTS]
    images = read_arrays(arrays, wanted, record['command'])
    title = f'Fig. A2: predicted segmentations beside manual ones ({record["weights"]}, {record["data"]})'
    origin = {'command': f'`{record["command"]}`', 'date': record['date'][:10], 'commit': record['commit']}
    rows = [[f'{record["weights"]}, {len(record["frames"])} frames', *_dsc(record)]]
    printed = printed_values()['segmentation_dsc_percent']
    names = list(record['classes'].values())
    rows += [
        [f'paper: {printed_values()["sets"][data]}', f'{value:.1f}', *('–' for _ in names)]
        for data, value in printed.items()
    ]
    head = ['network', 'segmentation DSC %', *names]
    kind = record['kind']
    return [
        PaperFigure(f'figureA2_{kind}', title, lambda: draw_segmentations(record['shown'], images), (NOTE,), origin),
        PaperTable(f'figureA2_{kind}_numbers', f'{title}, numbers', head, rows, (NOTE,), origin),
    ]


def draw_segmentations(names: Sequence[str], images: Mapping[str, np.ndarray]) -> Figure:
    """Draw manual labels above, predicted ones below, a frame a column.

    Args:
        names: Names of the frames.
        images: Slices by '0_image', '0_manual', '0_predicted' and so on.
    """
    figure = Figure(figsize=(2.3 * len(names), 5.0), layout='constrained')
    panels = figure.subplots(2, len(names), squeeze=False)
    for number, name in enumerate(names):
        image, manual, predicted = (images[f'{number}_{part}'] for part in PARTS)
        inner = box_around((manual > 0) | (predicted > 0))
        for axes, labels, kind in zip(panels[:, number], (manual, predicted), ('manual', 'predicted'), strict=True):
            axes.imshow(image[inner], cmap='gray', vmin=0, vmax=255)
            draw_outlines(axes, labels[inner], PALETTE[1:], 1.3)
            axes.set_title(f'{name}, {kind}', fontsize=8.5)
            axes.set_axis_off()
    return figure


def _dsc(record: Mapping[str, Any]) -> list[str]:
    frames = record['frames']
    columns = [[one['dsc'] for one in frames]]
    columns += [[one['dsc_per_label'].get(label) for one in frames] for label in record['classes']]
    cells = []
    for column in columns:
        numbers = 100 * np.array([value for value in column if value is not None], float)
        spread = f' ± {numbers.std(ddof=1):.1f}' if numbers.size > 1 else ''
        cells.append(f'{numbers.mean():.1f}{spread}' if numbers.size else '–')
    return cells


def _per_label(record: Mapping[str, Any]) -> str:
    return next(name for name in record if name.startswith('segmentation_dsc_per_'))
