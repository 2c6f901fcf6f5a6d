"""Pictures of the paper: what is drawn is what the records hold."""

import dataclasses
import json
import types

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_data import PairData, Segmentation
from autofuse_jax.evaluation.runs import Case, Run
from autofuse_jax.weights.released import Description
from experiments.comparison.compare_with_syn import BOTH, INSTANCE, NETWORK, SYN
from experiments.paper import pictures, segmentations
from experiments.paper.curves import draw_figure5, figure5, labelled_points
from experiments.paper.frontier import common_routes, frontier, on_the_frontier, words_of
from experiments.paper.gates import gate_outputs, measure_gates
from experiments.paper.networks import NamedNetwork, plane_of_labels
from experiments.paper.pictures import measure_pair, pair_figure, where_they_differ
from experiments.paper.segmentations import measure_segmentations, segmentation_outputs
from tests.experiments.comparison_records import comparison_record, row_record
from tests.experiments.paper_data import hearts

ORIGIN = {'command': 'python -m experiments.paper', 'commit': '0123456789ab', 'date': '2026-01-01T00:00'}


def routes_record(pairs, **routes):
    """Return a record of routes by name: DSC and processor seconds, the same of every pair."""
    one = {route: {'dsc': dsc, 'processor_seconds': seconds} for route, (dsc, seconds) in routes.items()}
    data = {'task': 'acdc', 'split': 'validation', 'pairs': pairs}
    return ORIGIN | {'data': data, 'summary': dict.fromkeys(one), 'records': {pair: dict(one) for pair in pairs}}


def test_the_frontier_keeps_what_nothing_faster_beats():
    routes = {NETWORK: (0.8, 4.0), INSTANCE: (0.84, 11.0), SYN: (0.79, 850.0), f'{INSTANCE}, 12 steps': (0.79, 6.0)}
    record = routes_record(['p', 'q'], **routes)
    points = common_routes({'record': record}, ['p', 'q'])
    assert list(points) == [NETWORK, f'{INSTANCE}, 12 steps', INSTANCE, SYN]
    assert on_the_frontier(points) == {NETWORK, INSTANCE}
    assert words_of(f'{INSTANCE}, 12 steps') == 'instance optimisation, 12 steps'


def test_routes_are_compared_on_the_same_pairs():
    record = routes_record(['p', 'q', 'r'], **{NETWORK: (0.8, 4.0), SYN: (0.79, 850.0)})
    del record['records']['r'][SYN]
    _, table = frontier({'one': record})
    groups = [(row[0], row[1]) for row in table.rows]
    assert groups == [('all 3 pairs', 'network'), ('the 2 pairs with SyN', 'network'), ('the 2 pairs with SyN', 'SyN')]
    # One pair has no deviation, which is not one of 0.
    _, table = frontier({'one': routes_record(['p'], **{NETWORK: (0.8, 4.0)})})
    assert table.rows[0][3] == '80.0'
    with pytest.raises(UserError, match='the routes of other were scored on other pairs than those of one'):
        frontier({'one': record, 'other': routes_record(['p', 'q'], **{BOTH: (0.8, 4.0)})})


def test_points_of_figure_5_are_the_pairs_of_the_rows():
    rows = {
        'autofuse': row_record('autofuse', 0.6),
        'autofuse_5_labelled': row_record('autofuse', 0.7),
        'autofuse_5_labelled_alone': row_record('autofuse', 0.65),
        'autofuse_9_labelled': row_record('autofuse', 0.8),
    }
    record = ORIGIN | comparison_record(*rows.items(), data={'name': 'acdc', 'train_subjects': 9})
    with_rest, alone = labelled_points(record).values()
    assert list(with_rest) == [0, 5, 9] and list(alone) == [5, 9]
    np.testing.assert_allclose(alone[5], 100 * np.array(rows['autofuse_5_labelled_alone']['dsc_after']))
    figure, table = figure5(record)
    assert [row[-1] for row in table.rows] == ['–', '+5.0', '+0.0']
    assert len(figure.draw().axes[0].lines) > 0


def test_errors_of_figure_5_are_of_the_pairs_that_have_a_number():
    # Of 60 and 80: mean 70, standard error 20 / 2.
    ((line, _, (bars,)),) = draw_figure5({'one': {3: np.array([60.0, 80.0, np.nan])}}).axes[0].containers
    assert line.get_ydata().tolist() == [70.0]
    np.testing.assert_allclose(np.diff(bars.get_segments()[0][:, 1]), 20.0)


def test_methods_differ_most_where_some_are_right_and_some_are_wrong():
    fixed = np.zeros((40, 40), int)
    fixed[10:30, 10:30] = 1
    right, wrong = fixed.copy(), fixed.copy()
    # All are wrong in one corner, only one of them in the other.
    right[10:14, 10:14], wrong[10:14, 10:14], wrong[25:29, 24:28] = 0, 0, 0
    column, row = where_they_differ([right, wrong], fixed)
    assert 23 <= column <= 29 and 24 <= row <= 30


def test_the_plane_that_is_shown_is_the_same_of_every_size():
    labels = np.zeros((16, 16, 12), int)
    labels[4:8, 2:6, 8] = 1
    plane = plane_of_labels(np.diag([-1.5, 1.5, 3.0, 1.0]), labels)
    np.testing.assert_array_equal(np.unique(plane.cut(labels)), [0, 1])
    assert plane.cut(labels).sum() == 16
    coarse = labels.reshape(8, 2, 8, 2, 6, 2).max((1, 3, 5))
    np.testing.assert_array_equal(plane.cut(coarse), plane.cut(labels).reshape(8, 2, 8, 2).max((1, 3)))


class Gated:
    """Stands in for a network with gates: their weights are a share of the fixed image."""

    description = Description('autofuse', {'num_classes': 4})
    method = types.SimpleNamespace(multiple=(16, 16, 16))

    def check_gates(self):
        """Nothing to say."""

    def gate_weights(self, fixed, moving):
        half = fixed.reshape(16, 2, 16, 2, 8, 2).mean((1, 3, 5))[..., None]
        return {'gate_2': np.concatenate([half, 1 - half], -1).astype(np.float32), 'gate_3': np.full((8, 8, 4, 2), 0.5)}


@pytest.fixture
def network(tmp_path, monkeypatch):
    (tmp_path / 'weights.npz').write_bytes(b'weights')
    monkeypatch.setattr(NamedNetwork, 'model', lambda self: Gated())
    return NamedNetwork(tmp_path / 'weights.npz', hearts(tmp_path / 'hearts'), 'test')


def test_gates_are_measured_on_voxels_as_in_training(network, tmp_path, monkeypatch):
    """Twice as large as those of the data within slices."""
    first, second, third = network.manifest.spacing
    coarse, shapes = Gated(), []
    coarse.description = Description('autofuse', {}, spacing_mm=[2 * first, 2 * second, third])

    def gate_weights(fixed, moving):
        shapes.append((fixed.shape, moving.shape))
        return {'gate_2': np.full((8, 8, 8, 2), 0.5)}

    coarse.gate_weights = gate_weights
    monkeypatch.setattr(NamedNetwork, 'model', lambda self: coarse)
    measure_gates([network], tmp_path / 'gates.json', None)
    assert set(shapes) == {((16, 16, 16),) * 2}


def test_gates_are_measured_on_every_pair_and_drawn_on_one(network, tmp_path):
    measure_gates([network], tmp_path / 'gates.json', network.pairs[1].name)
    record = json.loads((tmp_path / 'gates.json').read_text())
    (entry,) = record['networks']
    assert entry['pairs'] == [pair.name for pair in network.pairs] and entry['shown'] == network.pairs[1].name
    assert entry['gates']['gate_2']['mean'] == pytest.approx(0.5) and entry['gates']['gate_2']['deviation'] > 0.1
    # The mean over both channels is 0.5 everywhere.
    assert entry['gates']['gate_2']['deviation_over_voxels'] == pytest.approx(0, abs=1e-6)
    table, figure = gate_outputs(record, tmp_path / 'gates.npz')
    spread = f'0.500 ± {entry["gates"]["gate_2"]["deviation"]:.3f}'
    assert table.rows[0][1:] == [spread, '0.500 ± 0.000'] and table.rows[1][1:] == ['0.000', '0.000']
    assert table.rows[3][1:] == ['0.546', '0.384']
    assert len(figure.write(tmp_path)) == 3
    # Without the arrays there is the table.
    assert len(gate_outputs(record, tmp_path / 'none.npz')) == 1
    with pytest.raises(UserError, match='there is no pair x'):
        measure_gates([network], tmp_path / 'gates.json', 'x')


def run_of(network, displacement, predicted=None):
    """Return a function in the place of `open_network` that gives every pair a displacement."""

    def case(pair):
        labels = np.load(network.manifest.root / pair.fixed.file)['seg']
        moving = np.load(network.manifest.root / pair.moving.file)['seg']
        segmentation = Segmentation(labels, predicted(labels), (1, 2, 3)) if predicted else None
        data = PairData(displacement, fixed_labels=labels, moving_labels=moving, structures=(1, 2, 3))
        facts = {'fixed_frame': pair.fixed.phase}
        return Case(pair.name, pair.fixed_subject, lambda: dataclasses.replace(data, segmentation=segmentation), facts)

    cases = tuple(case(pair) for pair in network.pairs)
    return lambda path, name, sources: Run(name, path, 'released weights', cases, network.manifest.classes)


def test_one_pair_goes_through_all_methods(network, tmp_path, monkeypatch):
    shape = network.manifest.shape
    monkeypatch.setattr(pictures, 'open_network', run_of(network, np.zeros((*shape, 3))))

    def instance(fixed, moving, guide):
        return type('Result', (), {'moved': fixed.image, 'moved_labels': fixed.labels})

    monkeypatch.setattr(pictures, 'register_volumes', instance)
    measure_pair([network], tmp_path / 'pair.json', None)
    record = json.loads((tmp_path / 'pair.json').read_text())
    before, by_network, by_instance = (method['dsc'] for method in record['methods'])
    assert before == pytest.approx(by_network) and before < by_instance == 1
    (figure,) = pair_figure(record, tmp_path / 'pair.npz')
    assert figure.name == 'figure7_phantom' and 'instance optimisation' in figure.notes[-1]
    assert len(figure.write(tmp_path)) == 3
    for content, words in ((b'PK', 'cannot be read'), (None, 'cannot be read')):
        path = tmp_path / 'other.npz'
        path.write_bytes(content) if content else path.unlink()
        with pytest.raises(UserError, match=words):
            pair_figure(record, path)


def test_segmentations_stand_beside_manual_ones(network, tmp_path, monkeypatch):
    shape = network.manifest.shape
    half = run_of(
        network, np.zeros((*shape, 3)), lambda labels: np.where(np.arange(shape[0])[:, None, None] < 16, labels, 0)
    )
    monkeypatch.setattr(segmentations, 'open_network', half)
    measure_segmentations([network], tmp_path / 'seg.json', None)
    record = json.loads((tmp_path / 'seg.json').read_text())
    assert len(record['frames']) == len(network.pairs) and all(0 < one['dsc'] < 1 for one in record['frames'])
    figure, table = segmentation_outputs(record, tmp_path / 'seg.npz')
    assert table.rows[-1][:2] == ['paper: ACDC test set (100 pairs of 50 patients)', '86.3']
    assert len(record['shown']) == 2 and len(figure.draw().axes) == 4
    monkeypatch.setattr(segmentations, 'open_network', run_of(network, np.zeros((*shape, 3))))
    with pytest.raises(UserError, match='segments nothing'):
        measure_segmentations([network], tmp_path / 'seg.json', None)
