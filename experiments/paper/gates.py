"""Table 8 and pictures of gates: what each fusion gate takes from the fusion branch, per level and per voxel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.files import json_types, replacing, write_json
from autofuse_jax.provenance import provenance
from autofuse_jax.registration.gate_maps import GateMap, gate_numbers
from autofuse_jax.reports.markdown import MISSING
from autofuse_jax.training.network_runs import network_grid
from autofuse_jax.transforms.grids import ImageGrid, resize_grid
from autofuse_jax.weights.released import file_hash
from experiments.paper.networks import NamedNetwork, bytes_of, chosen_pair, data_words, mean_of, plane_of_labels
from experiments.paper.outputs import PaperFigure, PaperTable
from experiments.paper.pictures import read_arrays
from experiments.paper.printed import printed_values

RECORD, ARRAYS = 'paper_gates.json', 'paper_gates.npz'
TITLE = 'Table 8: mean weight of the fusion branch at each gate'
NOTES = (
    'Mean ± standard deviation over the voxels and channels of a level, averaged over the pairs; below it the standard '
    'deviation over voxels of the means over channels, which the maps show, and that of the means over pairs. Gates '
    'start at 0.5 everywhere: a mean of 0.5 with a spread is a gate that has learned, without one it is a gate that '
    'has not. Gates 2 to 5 lie on the way down to a sixteenth of the resolution, 6 to 8 on the way back.',
    'The paper gives means on other data, without spreads. ' + printed_values()['notes']['8'],
)
# Spreads below the means: entry of the record, what it is over, decimals.
SPREADS = (
    ('deviation_over_voxels', 'voxels, of means over channels', 3),
    ('deviation_over_pairs', 'pairs', 4),
)
COLOURS = 'PuOr_r'
PANEL_INCHES = 2.2


def measure_gates(networks: Sequence[NamedNetwork], record: Path, pair: str | None) -> None:
    """Run networks with gates on all pairs of their split, and write the record and the arrays of one pair.

    Args:
        networks: The networks.
        record: JSON file to write; its arrays go beside it.
        pair: Name of the pair that is drawn; None: the first.

    Raises:
        UserError: A network has no gates.
    """
    entries, arrays = [], {}
    for number, network in enumerate(networks):
        entry, images = _measure(network, pair if number == 0 else None)
        entries.append(entry)
        arrays |= {f'{number}_{name}': image for name, image in images.items()}
    with replacing(record.with_suffix('.npz')) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **arrays)
    write_json(record, json_types(provenance() | {'networks': entries}))


def _measure(network: NamedNetwork, pair: str | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    model = network.model()
    model.check_gates()
    manifest = network.manifest
    store, grid = FrameStore(manifest, manifest.shape, 1.0), ImageGrid(manifest.shape, np.eye(4))
    seen = FrameStore(manifest, network_grid(manifest, model.description, model.method.multiple), 1.0)
    pairs = network.pairs
    number_of_pair = chosen_pair(pairs, pair)
    numbers: dict[str, list[dict[str, Any]]] = {}
    images: dict[str, np.ndarray] = {}
    for position, one in enumerate(pairs):
        weights = model.gate_weights(seen.load(one.fixed)[0], seen.load(one.moving)[0])
        maps = [GateMap(name, weight, resize_grid(grid, weight.shape[:3])) for name, weight in sorted(weights.items())]
        for each in maps:
            numbers.setdefault(each.name, []).append(gate_numbers(each))
        if position == number_of_pair:
            fixed, labels = store.load(one.fixed)
            affine = load_frame(manifest, one.fixed).affine
            plane = plane_of_labels(affine, fixed if labels is None else labels)
            images = {'fixed': bytes_of(plane.cut(fixed))}
            images |= {each.name: plane.cut(each.image).astype(np.float16) for each in maps}
    gates = {
        name: {
            'mean': mean_of(values, 'mean'),
            'deviation_over_voxels': mean_of(values, 'deviation_over_voxels'),
            'deviation': mean_of(values, 'deviation'),
            'deviation_over_pairs': float(np.std([value['mean'] for value in values], ddof=1))
            if len(values) > 1
            else None,
            'shape': values[0]['shape'],
        }
        for name, values in numbers.items()
    }
    return {
        'weights': network.name,
        'sha256': file_hash(network.path),
        'method': model.description.method,
        'trained': 'semi-supervised' if model.description.model.get('num_classes') else 'unsupervised',
        'data': data_words(network),
        'pairs': [one.name for one in pairs],
        'shown': pairs[number_of_pair].name,
        'gates': gates,
    }, images


def gate_outputs(record: Mapping[str, Any], arrays: Path) -> list[PaperTable | PaperFigure]:
    """Return Table 8 and, where there are arrays, the maps of the gates as pictures.

    Args:
        record: Result of `measure_gates`.
        arrays: Its arrays.
    """
    names = sorted({name for network in record['networks'] for name in network['gates']})
    rows = []
    for network in record['networks']:
        gates = network['gates']
        rows.append(
            [
                f'{network["weights"]} ({network["data"]}, {len(network["pairs"])} pairs)',
                *(_mean(gates.get(name)) for name in names),
            ]
        )
        for key, words, decimals in SPREADS:
            rows.append([f'– deviation over {words}', *(_deviation(gates.get(name), key, decimals) for name in names)])
    printed = printed_values()
    for data, values in printed['gates'].items():
        numbers = [MISSING if name not in values else f'{values[name]:.3f}' for name in names]
        rows.append([f'paper: {printed["sets"][data]}', *numbers])
    origin = {'command': f'`{record["command"]}`', 'date': record['date'][:10], 'commit': record['commit']}
    head = ['network', *(name.replace('gate_', 'level ') for name in names)]
    outputs: list[PaperTable | PaperFigure] = [PaperTable('table8', TITLE, head, rows, NOTES, origin)]
    if arrays.is_file():
        wanted = [f'{number}_fixed' for number in range(len(record['networks']))]
        stored = read_arrays(arrays, wanted, record['command'])
        for number, network in enumerate(record['networks']):
            images = {
                name.partition('_')[2]: image for name, image in stored.items() if name.partition('_')[0] == str(number)
            }
            outputs.append(
                PaperFigure(
                    f'gates_{network["weights"]}',
                    f'Gates of {network["weights"]}: weight of the fusion branch over the fixed image',
                    lambda images=images: draw_gates(images),
                    (
                        f'{network["shown"].replace("_", " ")}, the slice with most labels; means over the channels. '
                        'Purple takes more from the single images, orange more from the fusion branch.',
                    ),
                    origin | {'data': network['data']},
                )
            )
    return outputs


def draw_gates(images: Mapping[str, np.ndarray]) -> Figure:
    """Draw the maps of all gates over the fixed image, in one scale around 0.5.

    Args:
        images: 'fixed', uint8 (H, W), and the gates by name, (h, w) in [0, 1], over the same field of view.
    """
    gates = sorted(name for name in images if name != 'fixed')
    fixed = images['fixed']
    limit = max(0.01, *(float(np.abs(images[name].astype(np.float32) - 0.5).max()) for name in gates))
    columns = (len(gates) + 2) // 2
    height = 2 * (PANEL_INCHES * fixed.shape[0] / fixed.shape[1] + 0.3)
    figure = Figure(figsize=(PANEL_INCHES * columns + 1.2, height), layout='constrained')
    panels = figure.subplots(2, columns).ravel()
    extent = (0, fixed.shape[1], fixed.shape[0], 0)
    shown = None
    for panel, name in zip(panels, ['fixed', *gates], strict=False):
        panel.imshow(fixed, cmap='gray', vmin=0, vmax=255, extent=extent)
        panel.set_title('fixed image' if name == 'fixed' else _title(name, images[name]), fontsize=9)
        if name != 'fixed':
            values = images[name].astype(np.float32)
            shown = panel.imshow(
                values,
                cmap=COLOURS,
                vmin=0.5 - limit,
                vmax=0.5 + limit,
                extent=extent,
                alpha=0.72,
                interpolation='nearest',
            )
    for panel in panels:
        panel.set_axis_off()
    figure.colorbar(shown, ax=list(panels), shrink=0.7, label='weight of the fusion branch')
    return figure


def _title(name: str, image: np.ndarray) -> str:
    return f'{name.replace("gate_", "level ")}: {image.astype(np.float32).mean():.2f}'


def _mean(gate: Mapping[str, Any] | None) -> str:
    return MISSING if gate is None else f'{gate["mean"]:.3f} ± {gate["deviation"]:.3f}'


def _deviation(gate: Mapping[str, Any] | None, key: str, decimals: int) -> str:
    return MISSING if gate is None or gate[key] is None else f'{gate[key]:.{decimals}f}'
