"""Surface distances: by hand, and against the package surface-distance."""

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.metrics.surface import (
    SurfaceDefinition,
    average_distance,
    average_surface_distance,
    distances_per_label,
    percentile_distance,
    robust_hausdorff,
    surface_distances,
)
from autofuse_jax.metrics.surfels import CORNER_WEIGHTS, corner_codes, surfel_areas

SURFELS = SurfaceDefinition(elements='surfels')
ANISOTROPIC = (1.5, 1.5, 3.15)
UNEQUAL = (1.3, 0.7, 2.1)
# The voxels around a corner that are inside, by code.
PATTERNS = [(code & CORNER_WEIGHTS) > 0 for code in range(256)]


def block(start, size, shape=(12, 12, 12)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(first, first + extent) for first, extent in zip(start, size, strict=True))] = True
    return mask


def blobs(seed, shape=(24, 20, 16)):
    """Two rough overlapping shapes."""
    noise = np.random.default_rng(seed).normal(size=(2, *shape))
    smooth = np.stack([ndimage.gaussian_filter(part, 2.0) for part in noise])
    return smooth[0] > 0.02, ndimage.gaussian_filter(smooth[0] + 0.8 * smooth[1], 0.5) > 0.02


def oracle(first, second, spacing, percentile=95.0):
    """HD95 and the two directed means of surface-distance 0.1."""
    package = pytest.importorskip('surface_distance')
    with warnings.catch_warnings():
        # It imports from places that SciPy is going to remove.
        warnings.simplefilter('ignore', DeprecationWarning)
        distances = package.compute_surface_distances(first, second, spacing)
    return package.compute_robust_hausdorff(distances, percentile), package.compute_average_surface_distance(distances)


@pytest.mark.parametrize(('axis', 'expected'), [(0, 3.0), (1, 3.0), (2, 6.3)])
def test_shift_along_one_axis_in_millimetres(axis, expected):
    # Two planes of one voxel thickness, two voxels apart: every distance is two voxels of that axis.
    size = [6, 6, 6]
    size[axis] = 1
    first = block((2, 2, 2), size)
    second = np.roll(first, 2, axis=axis)
    assert robust_hausdorff(first, second, ANISOTROPIC) == pytest.approx(expected)
    assert average_surface_distance(first, second, ANISOTROPIC) == pytest.approx(expected)


def test_percentile_of_voxels_by_hand():
    # A row of 100 voxels; the other map lacks the last 10. Distances to it: 90 zeros, then 1 .. 10. The smallest
    # distance within which 95 of 100 lie is 5; the other direction is 0 everywhere.
    first, second = block((0, 0, 0), (100, 1, 1), (100, 1, 1)), block((0, 0, 0), (90, 1, 1), (100, 1, 1))
    assert robust_hausdorff(first, second, (2.0, 1.0, 1.0)) == 10.0
    # Together: 180 zeros of 190; 0.95 * 190 = 180.5, so one of the ten counts.
    union = SurfaceDefinition(combine='union')
    assert robust_hausdorff(first, second, (2.0, 1.0, 1.0), union) == 2.0
    assert robust_hausdorff(first, second, (2.0, 1.0, 1.0), SurfaceDefinition(percentile=100)) == 20.0
    # (1 + ... + 10) * 2 mm / 190 elements.
    assert average_surface_distance(first, second, (2.0, 1.0, 1.0)) == pytest.approx(110 / 190)


def test_inner_voxels_are_no_surface_and_the_border_of_the_volume_is():
    distances = surface_distances(
        block((0, 0, 0), (5, 5, 5), (5, 5, 5)), block((0, 0, 0), (5, 5, 5), (5, 5, 5)), (1, 1, 1)
    )
    assert len(distances.forward) == 5**3 - 3**3
    assert not distances.forward.any() and not distances.backward.any()


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_of_a_slice_the_outline_within_it_counts(axis):
    rows, columns = np.indices((40, 44))
    first, second = ((rows - 20) ** 2 + (columns - middle) ** 2 < 144 for middle in (20, 24))
    outlines = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    pixels = (1.5, 0.5)
    apart = [
        ndimage.distance_transform_edt(~other, sampling=pixels)[one] for one, other in (outlines, reversed(outlines))
    ]
    slices = [np.expand_dims(mask, axis) for mask in (first, second)]
    spacing = np.insert(pixels, axis, 8.0)
    assert average_surface_distance(*slices, spacing) == pytest.approx(np.concatenate(apart).mean())
    expected = max(np.percentile(part, 95, method='inverted_cdf') for part in apart)
    assert robust_hausdorff(*slices, spacing) == pytest.approx(expected)
    labels = [mask.astype(np.uint8) for mask in slices]
    assert average_distance(distances_per_label(*labels, [1], spacing)[1]) == pytest.approx(
        np.concatenate(apart).mean()
    )


def test_a_structure_in_one_slice_of_a_volume_has_two_sides():
    first, second = block((5, 2, 2), (1, 6, 6)), block((5, 2, 4), (1, 6, 6))
    # 24 of the 36 voxels of each lie on the other one, 6 a voxel away from it and 6 two.
    labels = [mask.astype(np.uint8) for mask in (first, second)]
    distances = distances_per_label(*labels, [1], (1.0, 1.0, 1.0))[1]
    assert average_distance(distances) == average_surface_distance(first, second, (1.0, 1.0, 1.0)) == 0.5


def test_a_volume_of_one_voxel_is_its_own_surface():
    voxel = np.ones((1, 1, 1), bool)
    assert robust_hausdorff(voxel, voxel, (1.0, 1.0, 1.0)) == 0.0


def test_equal_masks_have_distance_zero():
    first, _ = blobs(0)
    for definition in (SurfaceDefinition(), SURFELS):
        assert robust_hausdorff(first, first, ANISOTROPIC, definition) == 0
        assert average_surface_distance(first, first, ANISOTROPIC, definition) == 0


def test_order_of_the_masks_does_not_matter():
    first, second = blobs(1)
    for definition in (SurfaceDefinition(), SURFELS, SurfaceDefinition(combine='union')):
        assert robust_hausdorff(first, second, ANISOTROPIC, definition) == robust_hausdorff(
            second, first, ANISOTROPIC, definition
        )


def test_missing_structure_is_nan():
    first = block((2, 2, 2), (3, 3, 3))
    assert math.isnan(robust_hausdorff(first, np.zeros_like(first), (1, 1, 1)))
    assert math.isnan(average_surface_distance(np.zeros_like(first), first, (1, 1, 1)))


def test_per_label_equals_one_by_one():
    generator = np.random.default_rng(0)
    fixed = np.where(blobs(2)[0], generator.choice([3, 700], size=(24, 20, 16)), 0)
    warped = np.roll(fixed, 2, axis=2)
    warped[warped == 5] = 0
    for definition in (SurfaceDefinition(), SURFELS):
        found = distances_per_label(fixed, warped, [0, 700, 3, 5], ANISOTROPIC, definition.elements)
        assert list(found) == [700, 3, 5]
        for label in (700, 3):
            masks = fixed == label, warped == label
            assert percentile_distance(found[label], definition) == robust_hausdorff(*masks, ANISOTROPIC, definition)
            mean = average_surface_distance(*masks, ANISOTROPIC, definition)
            assert average_distance(found[label]) == mean > 0
        assert found[5] is None
        assert math.isnan(percentile_distance(None, definition)) and math.isnan(average_distance(None))


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('spacing', [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), ANISOTROPIC, UNEQUAL])
def test_surfels_agree_with_surface_distance(seed, spacing):
    first, second = blobs(seed)
    expected, means = oracle(first, second, spacing)
    assert expected > 0
    assert robust_hausdorff(first, second, spacing, SURFELS) == pytest.approx(expected, rel=1e-12)
    found = surface_distances(first, second, spacing, 'surfels')
    for values, weights, mean in (
        (found.forward, found.forward_weights, means[0]),
        (found.backward, found.backward_weights, means[1]),
    ):
        assert np.average(values, weights=weights) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize('spacing', [(1.0, 1.0, 1.0), ANISOTROPIC, UNEQUAL])
def test_the_area_of_every_pattern_is_that_of_surface_distance(spacing):
    pytest.importorskip('surface_distance')
    from surface_distance import lookup_tables

    expected = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    codes = [(pattern * lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL).sum() for pattern in PATTERNS]
    np.testing.assert_allclose(surfel_areas(spacing), expected[codes], rtol=1e-12)


@pytest.mark.parametrize('axes', list(itertools.permutations(range(3))))
def test_area_of_a_twisted_row_by_hand(axes):
    # The row (1, 0, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1): the middles of the edges that leave it, on a way round, and
    # four triangles of them, one at each end of the row and two between.
    pattern = np.zeros((2, 2, 2), bool)
    pattern[[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]] = True
    ring = np.array([(0, 1, 0), (2, 1, 0), (2, 0, 1), (1, 0, 2), (1, 2, 2), (0, 2, 1)]) / 2
    expected = 0.0
    for triangle in ((0, 1, 2), (3, 4, 5), (0, 2, 5), (2, 3, 5)):
        origin, first, second = ring[list(triangle)][:, axes] * UNEQUAL
        expected += np.linalg.norm(np.cross(first - origin, second - origin)) / 2
    # Axis k of the cube has what axis axes[k] of the drawing has.
    turned = pattern.transpose(axes)
    assert surfel_areas(UNEQUAL)[(turned * CORNER_WEIGHTS).sum()] == pytest.approx(expected, rel=1e-12)


def test_voxels_stay_within_a_voxel_of_surface_distance():
    for seed in range(4):
        first, second = blobs(seed)
        expected, _ = oracle(first, second, (1.0, 1.0, 1.0))
        assert robust_hausdorff(first, second, (1.0, 1.0, 1.0)) == pytest.approx(expected, abs=1.0)


def test_area_of_a_block():
    # The sharp block of 4 x 5 x 6 mm^3 has 148 mm^2; cutting its twelve edges and eight corners off leaves, of each
    # edge of length L - 1 between corners, L - 1 strips of sqrt(1/2), and a triangle of sqrt(3)/8 at each corner.
    mask = block((2, 2, 2), (4, 5, 6))
    codes = corner_codes(mask)
    area = surfel_areas((1.0, 1.0, 1.0))[codes].sum()
    faces = 2 * (3 * 4 + 3 * 5 + 4 * 5)
    edges = 4 * (3 + 4 + 5) * math.sqrt(0.5)
    assert area == pytest.approx(faces + edges + 8 * math.sqrt(3) / 8)


def test_areas_do_not_depend_on_the_direction_of_the_pattern():
    areas = surfel_areas((1.0, 1.0, 1.0))
    for code, pattern in enumerate(PATTERNS):
        for axes in itertools.permutations(range(3)):
            turned = np.flip(pattern.transpose(axes), 0)
            assert areas[(turned * CORNER_WEIGHTS).sum()] == pytest.approx(areas[code])
        assert areas[255 - code] == pytest.approx(areas[code])


@pytest.mark.parametrize(('first', 'second'), [((4, 4, 4), (4, 4, 5)), ((4, 4), (4, 4))])
def test_wrong_shapes_are_refused(first, second):
    with pytest.raises(ValueError, match='must have one shape'):
        surface_distances(np.ones(first, bool), np.ones(second, bool), (1, 1, 1))
    if first != second:
        with pytest.raises(ValueError, match='equal shapes'):
            distances_per_label(np.ones(first, int), np.ones(second, int), [1], (1, 1, 1))


@pytest.mark.parametrize(
    ('options', 'message'),
    [({'elements': 'edges'}, 'voxels, surfels'), ({'combine': 'mean'}, 'max, union'), ({'percentile': 0}, 'above 0')],
)
def test_unknown_definitions_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SurfaceDefinition(**options)
