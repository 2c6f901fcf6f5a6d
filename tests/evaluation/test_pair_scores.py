"""Scores of a pair under different protocols: by hand, and Learn2Reg's against a direct computation."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_data import AFTER, BEFORE, PairData, Segmentation, through_the_world
from autofuse_jax.evaluation.pair_scores import name_structures, score_pair
from autofuse_jax.evaluation.protocol import PROTOCOLS, Folding, Protocol, Surface, Tre
from autofuse_jax.metrics.diffeomorphism import ndv_percent
from autofuse_jax.metrics.surface import SurfaceDefinition, robust_hausdorff
from tests.evaluation.made_results import AFFINE, SHAPE, labels_at, shift_field

DEFAULT, LEARN2REG = PROTOCOLS['default'], PROTOCOLS['learn2reg']


def pair_of(shift=-2.0, fixed=None, moving=None, **fields):
    fixed = labels_at(5) if fixed is None else fixed
    moving = labels_at(3) if moving is None else moving
    return PairData(shift_field(shift), AFFINE, AFFINE, np.eye(4), fixed, moving, **fields)


def test_shift_by_hand():
    record = score_pair(pair_of(seconds=3.0), DEFAULT)
    # Blocks of four planes that are two planes of 2 mm apart share two: DSC 2 * 2 / 8.
    assert record['dsc_before'] == 0.5 and record['dsc_after'] == 1.0
    assert record['dsc_before_per_label'] == {1: 0.5, 2: 0.5}
    assert record['hd95_mm_before'] == 4.0 and record['hd95_mm_after'] == 0.0
    assert record['hd95_mm_before_per_label'] == {1: 4.0, 2: 4.0}
    # Of the 44 surface voxels of a block (12, 10, 10 and 12 in its planes), 20 lie on the other's surface, 2 inside it
    # a voxel of 1 mm from its side, 10 a plane of 2 mm from it and 12 two planes.
    assert record['assd_mm_before_per_label'][1] == pytest.approx((2 * 1 + 10 * 2 + 12 * 4) / 44)
    assert record['assd_mm_after'] == 0.0
    assert record['njd_percent'] == record['sdlogj'] == 0.0 and record['seconds'] == 3.0
    assert 'tre_mm_after' not in record and 'jacobian_min' not in record


def test_unit_spacing_counts_voxels():
    record = score_pair(pair_of(0.0), dataclasses.replace(DEFAULT, surface=Surface(spacing='unit')))
    assert record['hd95_mm_after'] == 2.0


@pytest.mark.parametrize('slices', [1, 3])
def test_surface_distances_of_slices_and_of_stacks(slices):
    """Of a single slice the outlines are compared; in a stack each voxel of the only labelled slice is surface."""
    maps = [np.zeros((20, 20, slices), np.uint8) for _ in range(2)]
    for labels, first in zip(maps, (4, 6), strict=True):
        labels[first : first + 10, 5:15, slices // 2] = 1
    field = np.zeros((20, 20, slices, 3))
    record = score_pair(PairData(field, fixed_labels=maps[0], moving_labels=maps[1]), DEFAULT)
    # Of the 36 pixels of an outline 16 lie on the other one, 4 are a pixel away from it and 16 two. Of all 100 pixels
    # of a square 80 lie in the other one.
    expected = (4 * 1 + 16 * 2) / 36 if slices == 1 else (10 * 1 + 10 * 2) / 100
    assert record['assd_mm_before'] == pytest.approx(expected)


def test_listed_labels_only():
    protocol = dataclasses.replace(DEFAULT, labels={2: 'second', 9: 'nowhere'})
    record = score_pair(pair_of(fixed=labels_at(5, second=False)), protocol)
    # Label 2 is in the moving map only; label 9 in none.
    assert record['dsc_after'] == 0.0 and record['dsc_after_per_label'][2] == 0.0
    assert math.isnan(record['dsc_after_per_label'][9]) and math.isnan(record['hd95_mm_after_per_label'][2])


def test_structures_of_the_data_set_unless_the_protocol_lists_its_own():
    pair = pair_of(structures=(0, 2))
    assert set(score_pair(pair, DEFAULT)['dsc_after_per_label']) == {2}
    assert set(score_pair(pair, dataclasses.replace(DEFAULT, labels={1: 'one'}))['dsc_after_per_label']) == {1}


@pytest.mark.parametrize(
    ('policy', 'mean', 'per_label'), [('zero', 0.5, {1: 1.0, 2: 0.0}), ('skip', 1.0, {1: 1.0}), ('nan', None, {1: 1.0})]
)
def test_structure_in_one_map(policy, mean, per_label):
    record = score_pair(
        pair_of(fixed=labels_at(5, second=False)), dataclasses.replace(DEFAULT, missing_structures=policy)
    )
    found = {label: score for label, score in record['dsc_after_per_label'].items() if not math.isnan(score)}
    assert found == per_label
    assert record['hd95_mm_after_per_label'][1] == 0.0
    if mean is None:
        assert math.isnan(record['dsc_after']) and math.isnan(record['hd95_mm_after'])
    else:
        assert record['dsc_after'] == mean and record['hd95_mm_after'] == 0.0


def test_linear_labels_move_by_less_than_half_a_voxel():
    moving = labels_at(5)
    moving[9, 2, 3] = 1  # A single voxel loses its place when its 0/1 map is interpolated.
    shifted = pair_of(0.5, labels_at(5), moving)
    nearest, linear = (score_pair(shifted, PROTOCOLS[name])['dsc_after'] for name in ('default', 'linear'))
    assert nearest != linear


def test_where_the_map_ends():
    # Everything is label 1; pulling from 0.4 voxels before the first plane is inside its edge, but not its centre.
    full = np.ones(SHAPE, np.uint8)
    before, after = (score_pair(pair_of(-0.4, full, full), protocol) for protocol in (DEFAULT, LEARN2REG))
    assert before['dsc_after'] == 1.0
    assert after['dsc_after'] == pytest.approx(2 * 11 / (11 + 12))
    linear = dataclasses.replace(PROTOCOLS['linear'], outside='voxel_centres')
    assert score_pair(pair_of(-0.4, full, full), linear)['dsc_after'] == pytest.approx(2 * 11 / 23)


def test_grids_that_differ_meet_in_the_world():
    # The moving map has voxels of half the size along the first axis and starts 4 mm earlier.
    moving_affine = np.array([[1.0, 0, 0, -4], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    moving = np.zeros((28, *SHAPE[1:]), np.uint8)
    moving[4:28] = np.repeat(labels_at(3), 2, axis=0)
    matrix = through_the_world(AFFINE, moving_affine)
    # Fixed plane 0 lies at 0 mm, which is plane 4 of the moving map.
    np.testing.assert_allclose(matrix @ [0, 0, 0, 1], [4, 0, 0, 1])
    pair = PairData(shift_field(-2.0), AFFINE, moving_affine, matrix, labels_at(5), moving)
    assert score_pair(pair, DEFAULT)['dsc_after'] == 1.0
    assert score_pair(pair, DEFAULT)['dsc_before'] == 0.5


def test_landmarks_in_millimetres_and_voxels():
    points = np.array([[5.0, 2, 3], [6.0, 3, 3]])
    pair = pair_of(-2.0, fixed_points=points, moving_points=points - [[2, 0, 0], [2, 0, 1]])
    record = score_pair(pair, DEFAULT)
    # Before: (2, 0, 0) and (2, 0, 1) voxels of 2 x 1 x 3 mm; after: 0 and one voxel of 3 mm.
    assert record['tre_mm_before'] == pytest.approx((4 + 5) / 2) and record['landmarks'] == 2
    assert record['tre_mm_after'] == pytest.approx(1.5)
    assert record['tre_mm_after_median'] == pytest.approx(1.5) and record['tre_mm_after_p30'] == pytest.approx(0.9)
    in_voxels = score_pair(pair, dataclasses.replace(DEFAULT, tre=Tre(spacing='unit')))
    assert in_voxels['tre_mm_after'] == pytest.approx(0.5)


def test_landmarks_on_grids_that_differ():
    moving_affine = np.diag([1.0, 1.0, 3.0, 1.0])
    moving_affine[0, 3] = -4.0
    points = np.array([[5.0, 2, 3]])
    # (5 - 2) voxels of 2 mm are 6 mm, which is voxel 10 of the moving image.
    pair = PairData(
        shift_field(-2.0),
        AFFINE,
        moving_affine,
        through_the_world(AFFINE, moving_affine),
        fixed_points=points,
        moving_points=np.array([[10.0, 2, 3]]),
    )
    for spacing in ('fixed', 'moving', 'unit'):
        record = score_pair(pair, dataclasses.replace(DEFAULT, tre=Tre(spacing=spacing)))
        assert record['tre_mm_after'] == pytest.approx(0, abs=1e-9)
    assert score_pair(pair, DEFAULT)['tre_mm_before'] == pytest.approx(4.0)


def folding_pair():
    """Folds between planes 2 and 3: u falls by 1.5 there."""
    field = np.zeros((*SHAPE, 3), np.float32)
    field[3:, ..., 0] = -1.5
    return PairData(field, AFFINE, AFFINE, np.eye(4), labels_at(3), labels_at(3))


@pytest.mark.parametrize(
    ('folding', 'percent'),
    [
        # Forward differences fold at plane 2 of 11.
        (Folding(), 100 / 11),
        # Interior: planes 2 .. 9.
        (Folding(voxels='interior'), 100 / 8),
        # Plane 2 holds no label.
        (Folding(voxels='labelled'), 0.0),
        # Central differences are 1 - 0.75 at planes 2 and 3 of 10.
        (Folding(differences='central'), 0.0),
        (Folding(differences='central', threshold=0.25), 100 * 2 / 10),
        (Folding(differences='central', voxels='interior', threshold=0.25), 100 * 2 / 8),
        # Plane 3 of the planes 3 .. 6 with labels.
        (Folding(differences='central', voxels='labelled', threshold=0.25), 25.0),
    ],
)
def test_folding_definitions(folding, percent):
    record = score_pair(folding_pair(), dataclasses.replace(DEFAULT, folding=folding))
    assert record['njd_percent'] == pytest.approx(percent)


def test_volume_turned_inside_out_is_measured_where_asked_for():
    assert 'ndv_percent' not in score_pair(folding_pair(), DEFAULT)
    record = score_pair(folding_pair(), dataclasses.replace(DEFAULT, folding=Folding(ndv=True)))
    assert record['ndv_percent'] == ndv_percent(folding_pair().displacement) > 0


def test_labelled_folding_needs_labels():
    pair = PairData(shift_field(0.0), AFFINE, AFFINE, np.eye(4))
    with pytest.raises(UserError, match='the fixed image has no label map'):
        score_pair(pair, dataclasses.replace(DEFAULT, folding=Folding(voxels='labelled')))


def test_fields_that_cannot_be_scored_are_refused():
    with pytest.raises(UserError, match='cannot be scored.*sizes of at least 5'):
        score_pair(PairData(np.zeros((4, 6, 6, 3)), AFFINE, AFFINE, np.eye(4)), LEARN2REG)
    field = shift_field(0.0)
    field[0, 0, 0] = np.nan
    with pytest.raises(UserError, match='cannot be scored.*NaN'):
        score_pair(PairData(field, AFFINE, AFFINE, np.eye(4)), DEFAULT)


def test_learn2reg_against_a_direct_computation():
    """All numbers of a random pair as the rules of the challenge say, without this package's metrics."""
    generator = np.random.default_rng(3)
    fixed, moving = (
        generator.choice([0, 1, 2, 5], p=[0.4, 0.2, 0.2, 0.2], size=(4, 3, 3)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
        for _ in range(2)
    )
    fixed[fixed == 5] = 0  # A structure that one image lacks is skipped.
    field = np.stack([ndimage.gaussian_filter(generator.normal(size=fixed.shape), 1.5) * 8 for _ in range(3)], axis=-1)
    points = generator.uniform(2, 9, size=(6, 3)), generator.uniform(2, 9, size=(6, 3))
    moving_spacing = np.array([1.5, 2.0, 0.5])
    pair = PairData(
        field, np.eye(4), np.diag([*moving_spacing, 1]), np.eye(4), fixed.astype(int), moving.astype(int), *points
    )
    record = score_pair(pair, LEARN2REG)
    grid = np.stack(np.meshgrid(*map(np.arange, fixed.shape), indexing='ij'))
    warped = ndimage.map_coordinates(moving.astype(float), grid + field.transpose(3, 0, 1, 2), order=0)
    dice = {label: 2 * ((fixed == label) & (warped == label)).sum() for label in (1, 2)}
    dice = {label: both / ((fixed == label).sum() + (warped == label).sum()) for label, both in dice.items()}
    assert record['dsc_after_per_label'] == pytest.approx(dice)
    assert record['dsc_after'] == pytest.approx(np.mean(list(dice.values())))
    sampled = np.stack([ndimage.map_coordinates(field[..., axis], points[0].T) for axis in range(3)], axis=1)
    errors = np.linalg.norm((points[0] + sampled - points[1]) * moving_spacing, axis=1)
    assert record['tre_mm_after'] == pytest.approx(errors.mean())
    assert record['tre_mm_after_p30'] == pytest.approx(np.quantile(errors, 0.3))
    gradient = np.stack([np.stack(np.gradient(field[..., axis])) for axis in range(3)])
    jacobian = np.moveaxis(gradient, (0, 1), (-2, -1))[2:-2, 2:-2, 2:-2] + np.eye(3)
    assert record['sdlogj'] == pytest.approx(np.log((np.linalg.det(jacobian) + 3).clip(1e-9, 1e9)).std())
    definition = SurfaceDefinition(elements='surfels')
    for label in (1, 2):
        expected = robust_hausdorff(fixed == label, warped == label, (1, 1, 1), definition)
        assert record['hd95_mm_after_per_label'][label] == pytest.approx(expected)


def test_only_what_a_protocol_asks_for_is_measured():
    pair = pair_of(fixed_points=np.ones((1, 3)), moving_points=np.ones((1, 3)))
    expected = {
        'dsc': {'dsc_before', 'dsc_after', 'dsc_before_per_label', 'dsc_after_per_label'},
        'assd': {'assd_mm_before', 'assd_mm_after', 'assd_mm_before_per_label', 'assd_mm_after_per_label'},
        'njd': {'njd_percent'},
        'sdlogj': {'sdlogj'},
        'jacobian_range': {'jacobian_min', 'jacobian_max'},
    }
    for quantity, keys in expected.items():
        assert set(score_pair(pair, dataclasses.replace(DEFAULT, quantities=(quantity,)))) == keys
    assert 'tre_mm_after' in score_pair(pair, dataclasses.replace(DEFAULT, quantities=('tre',)))
    folded = score_pair(folding_pair(), dataclasses.replace(DEFAULT, quantities=('jacobian_range',)))
    assert folded == {'jacobian_min': -0.5, 'jacobian_max': 1.0}


def test_pair_without_a_registration_is_scored_as_it_is():
    record = score_pair(PairData(fixed_labels=labels_at(5), moving_labels=labels_at(3)), DEFAULT)
    assert record['dsc_before'] == 0.5 and record['hd95_mm_before'] == 2.0
    assert not any('after' in key or key in ('njd_percent', 'sdlogj') for key in record)


def test_labels_that_have_been_warped_are_scored_as_they_are():
    warped = {BEFORE: labels_at(4), AFTER: labels_at(5)}
    pair = PairData(shift_field(-2.0), AFFINE, fixed_labels=labels_at(5), warped_labels=warped)
    record = score_pair(pair, LEARN2REG)
    assert (record['dsc_before'], record['dsc_after']) == (0.75, 1.0)


def test_folds_of_the_official_determinant():
    protocol = dataclasses.replace(DEFAULT, folding=Folding(determinant='official'))
    # u falls by 1.5 along the first axis: det J is -0.5 there, and what the official code computes does not see it.
    record = score_pair(folding_pair(), protocol)
    assert record['njd_percent'] == 0.0 < score_pair(folding_pair(), DEFAULT)['njd_percent']
    assert record['sdlogj'] == score_pair(folding_pair(), DEFAULT)['sdlogj']
    with pytest.raises(UserError, match='official determinant goes with forward differences'):
        Folding(determinant='official', voxels='interior')


@pytest.mark.parametrize('kind', ['label', 'training_class'])
def test_segmentation_and_measurements_go_into_the_record(kind):
    segmentation = Segmentation(labels_at(5), labels_at(4, second=False), (0, 1, 2, 3), kind)
    pair = PairData(shift_field(0.0), segmentation=segmentation, measurements={'gate_means': {'gate_2': 0.5}})
    record = score_pair(pair, DEFAULT)
    scores = record[f'segmentation_dsc_per_{kind}']
    assert (scores[1], scores[2]) == (0.75, 0.0) and math.isnan(scores[3]) and 0 not in scores
    assert record['segmentation_dsc'] == 0.375 and record['gate_means'] == {'gate_2': 0.5}


def test_names_come_from_the_protocol_or_the_data():
    records = [{'dsc_after_per_label': {2: 0.5, 7: 0.1}}, {'pair': 'unlabelled'}]
    assert name_structures(DEFAULT, {0: 'background', 2: 'heart'}, records) == {2: 'heart', 7: 'label 7'}
    listed = Protocol('mine', labels={7: 'seven', 9: 'nine'})
    assert name_structures(listed, {}, records) == {7: 'seven'}
