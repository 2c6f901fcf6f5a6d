"""Scores of predictions that are known: nothing, a shift by one voxel, folding, another grid."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.case_scores import score_cases
from autofuse_jax.methods.base import Method, Prediction
from autofuse_jax.training.validation import PairPredictor, make_predict, summarise, training_protocol
from tests.data.hand_made import manifest_of, subject, write_data_set

SHAPE = (8, 4, 4)
NAN = float('nan')


@pytest.fixture(scope='module')
def manifest(tmp_path_factory):
    """Two frames: the block covers planes 1 and 2 in the ED frame, planes 2 and 3 in the ES frame."""
    root = tmp_path_factory.mktemp('hand_made')
    return write_data_set(manifest_of(subject('a', 'ED+ ES+', split='test'), root=root, shape=SHAPE))


def shifting(vector=(0.0, 0.0, 0.0), *, per_voxel=0.0, segments=False, gates=False):
    """A method that predicts u = vector + per_voxel * (first index) along the first axis, whatever it is shown."""

    def predict(params, fixed, moving, key):
        shape = fixed.shape[1:4]
        along = jnp.zeros((*shape, 3)).at[..., 0].set(per_voxel * jnp.arange(shape[0])[:, None, None])
        displacement = (jnp.asarray(vector) + along + params['zero'])[None]
        probabilities = [
            jnp.concatenate([1 - image, image], axis=-1) if segments else None for image in (fixed, moving)
        ]
        means = {'gate_2': jnp.asarray([0.25])} if gates else {}
        return Prediction(
            displacement, fixed_segmentation=probabilities[0], moving_segmentation=probabilities[1], gate_means=means
        )

    return Method('shifting', lambda key, shape: {}, lambda phase: (), predict, uses_labels=False)


def predictor_of(manifest, method, grid=SHAPE):
    everyone = frozenset(entry.id for entry in manifest.subjects)
    pairs = pair_source('ed_es', manifest, 'test', everyone).anchors
    return PairPredictor(make_predict(method, manifest.shape), manifest, FrameStore(manifest, grid, 1.0), pairs)


def score(manifest, method, grid=SHAPE, on_case=None, determinant='correct'):
    cases = predictor_of(manifest, method, grid).cases({'zero': jnp.zeros(())})
    protocol = training_protocol(determinant)
    return {record['pair']: record for record in score_cases(cases, [protocol], on_case)[protocol.name]}


def test_no_displacement_changes_nothing(manifest):
    records = score(manifest, shifting())
    assert list(records) == ['a_ED_to_ES', 'a_ES_to_ED']
    for record in records.values():
        # The blocks share one plane of two: DSC = 2 * 1 / (2 + 2).
        assert record['dsc_before'] == record['dsc_after'] == 0.5
        assert record['dsc_before_per_label'] == record['dsc_after_per_label'] == {1: 0.5}
        assert record['njd_percent'] == record['sdlogj'] == 0.0
        assert record['seconds'] > 0
        assert 'gate_means' not in record and 'segmentation_dsc_per_label' not in record
    assert [record['first_call'] for record in records.values()] == [True, False]
    first = records['a_ED_to_ES']
    assert (first['subject'], first['moving_frame'], first['fixed_frame']) == ('a', 'ED', 'ES')


def test_shift_by_one_voxel(manifest):
    # Pull by -1: planes 2 and 3 of the result show planes 1 and 2 of the moving frame. That brings ED onto ES; ES,
    # which lies at 2 and 3, goes to 3 and 4 and has nothing left in common with ED at 1 and 2.
    records = score(manifest, shifting((-1.0, 0.0, 0.0)))
    assert (records['a_ED_to_ES']['dsc_before'], records['a_ED_to_ES']['dsc_after']) == (0.5, 1.0)
    assert (records['a_ES_to_ED']['dsc_before'], records['a_ES_to_ED']['dsc_after']) == (0.5, 0.0)
    assert all(record['njd_percent'] == record['sdlogj'] == 0.0 for record in records.values())


def test_network_on_a_coarser_grid(manifest):
    # Half as many voxels along the first axis: -0.5 of its voxels is -1 prepared voxel. The other axes keep their unit.
    seen = []
    method = shifting((-0.5, 0.25, 0.0))
    records = score(
        manifest,
        method,
        grid=(4, 4, 4),
        on_case=lambda case, pair, records: seen.append((case.name, pair.displacement)),
    )
    assert records['a_ED_to_ES']['dsc_before'] == 0.5
    assert records['a_ED_to_ES']['dsc_after'] == 1.0  # 0.25 of a voxel rounds to none
    assert [name for name, _ in seen] == list(records)
    for _, displacement in seen:
        np.testing.assert_allclose(displacement, np.broadcast_to([-1.0, 0.25, 0.0], (*SHAPE, 3)), atol=1e-6)


def test_folding_is_counted_on_every_voxel(manifest):
    # u = -2 d: det J = 1 - 2 = -1 everywhere.
    assert {record['njd_percent'] for record in score(manifest, shifting(per_voxel=-2.0)).values()} == {100.0}
    # u = d: det J = 2 everywhere, neither folded nor uneven.
    for record in score(manifest, shifting(per_voxel=1.0)).values():
        assert record['njd_percent'] == 0.0
        assert record['sdlogj'] == pytest.approx(0.0, abs=1e-6)


def test_folds_as_the_official_code_counts_them(manifest):
    # Its determinant does not see a fold along the first axis.
    for record in score(manifest, shifting(per_voxel=-2.0), determinant='official').values():
        assert record['njd_percent'] == 0.0 and 'hd95_mm_after' not in record
    with pytest.raises(UserError, match="determinant is 'other'. Expected: one of correct, official"):
        training_protocol('other')


@pytest.mark.parametrize('grid', [SHAPE, (8, 8, 8)])
def test_segmentation_of_the_fixed_frame_is_scored_on_the_prepared_grid(manifest, grid):
    # Images are their own label maps, and the method returns them as probabilities: a perfect segmentation.
    records = score(manifest, shifting(segments=True), grid=grid)
    assert [record['segmentation_dsc_per_label'] for record in records.values()] == [{1: 1.0}] * 2
    assert summarise(list(records.values()))['segmentation_dsc'] == 1.0


def test_gate_means_are_plain_numbers(manifest):
    for record in score(manifest, shifting(gates=True)).values():
        assert record['gate_means'] == {'gate_2': 0.25}
        assert type(record['gate_means']['gate_2']) is float


def test_frames_without_labels_have_no_overlap(tmp_path):
    manifest = write_data_set(manifest_of(subject('a', 'ED+ ES', split='test'), root=tmp_path, shape=SHAPE))
    records = score(manifest, shifting(segments=True))
    for record in records.values():
        assert not any(name.startswith('dsc_') for name in record)
        assert record['njd_percent'] == 0.0
    # The segmentation needs labels of the fixed frame only: ED is fixed where ES moves.
    assert records['a_ES_to_ED']['segmentation_dsc_per_label'] == {1: 1.0}
    assert 'segmentation_dsc_per_label' not in records['a_ED_to_ES']
    means = summarise(list(records.values()))
    assert np.isnan(means['dsc_before']) and np.isnan(means['dsc_after'])
    assert means['segmentation_dsc'] == 1.0


def test_volumes_are_those_of_the_prepared_grid(manifest):
    predictor = predictor_of(manifest, shifting(), (4, 4, 4))
    volumes = predictor.volumes(predictor.pairs[0])
    assert {name: volume.shape for name, volume in volumes.items()} == dict.fromkeys(
        ('fixed', 'moving', 'fixed_labels', 'moving_labels'), SHAPE
    )
    assert np.flatnonzero(volumes['fixed_labels'].any((1, 2))).tolist() == [2, 3]  # ES
    assert np.flatnonzero(volumes['moving_labels'].any((1, 2))).tolist() == [1, 2]


def test_summarise_skips_nan_and_absent_values():
    records = [
        {
            'dsc_before': 0.25,
            'dsc_after': 0.5,
            'njd_percent': 1.0,
            'sdlogj': 0.5,
            'segmentation_dsc': 0.5,
        },
        {'dsc_before': 0.75, 'dsc_after': NAN, 'njd_percent': 3.0, 'sdlogj': 1.5},
        {'njd_percent': 5.0, 'sdlogj': NAN, 'segmentation_dsc': 0.75},
    ]
    # dsc_before: (0.25 + 0.75) / 2; njd: (1 + 3 + 5) / 3; sdlogj: (0.5 + 1.5) / 2; segmentation: (0.5 + 0.75) / 2.
    assert summarise(records) == {
        'dsc_before': 0.5,
        'dsc_after': 0.5,
        'njd_percent': 3.0,
        'sdlogj': 1.0,
        'segmentation_dsc': 0.625,
    }


def test_summarise_has_the_gates_by_level():
    records = [{'gate_means': {'gate_10': 0.25, 'gate_2': weight}} for weight in (0.4, 0.6)]
    means = summarise(records)
    assert [name for name in means if name.startswith('gate')] == ['gate_2', 'gate_10']
    assert means['gate_2'] == pytest.approx(0.5) and means['gate_10'] == 0.25


def test_summarise_without_any_value():
    means = summarise([{'njd_percent': 0.0, 'sdlogj': 0.0, 'segmentation_dsc': NAN}])
    assert np.isnan([means['dsc_before'], means['dsc_after'], means['segmentation_dsc']]).all()
    assert 'segmentation_dsc' not in summarise([{'njd_percent': 0.0, 'sdlogj': 0.0}])
