import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.prepared import Grid
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_resampling import (
    brain_mask,
    centred_grid,
    cut_fraction,
    prepare_brain,
    scale_to_white,
    smooth_for,
)
from autofuse_jax.transforms.grids import ImageGrid
from tests.preparation.brain_trees import LAS, image, labels


def volume(shift=(0, 0, 0), affine=LAS, with_labels=True):
    return Volume(image(0, shift).astype(np.float32), labels(shift=shift) if with_labels else None, affine, 's1')


def grid_of(shape, first=(0, 0, 0), spacing=1.0):
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = first
    return ImageGrid(shape, affine)


def test_a_flipped_image_is_only_reordered():
    # LAS: world x = 30 - i, so the grid that starts at x = 7 and runs right reads i = 23, 22, ..., 0.
    source = volume()
    prepared = prepare_brain(source, grid_of((24, 28, 26), (7, -20, -10)), np.eye(4))
    np.testing.assert_array_equal(prepared.labels, source.labels[::-1])
    scaled = np.minimum(source.image / np.percentile(source.image[source.image > 0], 99.9), 1)
    np.testing.assert_allclose(prepared.image, scaled[::-1], atol=1e-6)
    # 12 x 14 x 10 voxels of 1 mm^3.
    assert prepared.cut_fraction == 0 and prepared.brain_ml == pytest.approx(1.68)


def test_the_matrix_leads_from_the_grid_to_the_image():
    source = volume()
    matrix = np.eye(4)
    matrix[:3, 3] = [2, -3, 1]
    prepared = prepare_brain(source, grid_of((24, 28, 26), (7, -20, -10)), matrix)
    # Voxel (a, b, c) of the grid lies at x = 7 + a and reads x + 2, which is i = 30 - (9 + a) = 21 - a.
    assert prepared.labels[21 - 8, 9 + 3, 9 - 1] == source.labels[8, 9, 9] != 0


def test_many_slabs_are_as_good_as_one():
    source, grid = volume(), grid_of((40, 20, 20), (0.25, -13.3, -3.1), 0.9)
    whole = prepare_brain(source, grid, np.eye(4))
    # Ten planes that lie on both sides of a border between slabs.
    part = prepare_brain(source, grid_of((10, 20, 20), (0.25 + 0.9 * 11, -13.3, -3.1), 0.9), np.eye(4))
    np.testing.assert_array_equal(part.labels, whole.labels[11:21])
    assert np.count_nonzero(part.labels) > 1000
    assert whole.image.shape == whole.labels.shape == (40, 20, 20)


def test_cut_fraction_counts_voxels_by_their_centres():
    source = volume()
    brain = brain_mask(source)
    # The box spans x = 13..24, y = -13..0, z = -2..7.
    assert cut_fraction(brain, source.affine, grid_of((12, 14, 10), (13, -13, -2)), np.eye(4)) == 0
    assert cut_fraction(brain, source.affine, grid_of((11, 14, 10), (13, -13, -2)), np.eye(4)) == pytest.approx(1 / 12)
    assert cut_fraction(brain, source.affine, grid_of((12, 14, 9), (13, -13, -1.4)), np.eye(4)) == pytest.approx(1 / 10)
    # A shift of the matrix by one voxel moves the brain out of the grid by one voxel.
    matrix = np.eye(4)
    matrix[0, 3] = 1
    assert cut_fraction(brain, source.affine, grid_of((12, 14, 10), (13, -13, -2)), matrix) == pytest.approx(1 / 12)


def test_a_brain_outside_the_grid_is_an_error():
    with pytest.raises(UserError, match='no voxel of the brain of s1 is inside'):
        prepare_brain(volume(), grid_of((8, 8, 8), (500, 0, 0)), np.eye(4))


def test_brain_is_what_is_labelled_or_above_zero():
    marked = volume()
    assert brain_mask(marked).sum() == 12 * 14 * 10
    assert brain_mask(volume(with_labels=False)).sum() == 12 * 14 * 10
    with pytest.raises(UserError, match='the label map of s1 holds nothing above 0'):
        brain_mask(Volume(marked.image, np.zeros_like(marked.labels), LAS, 's1'))
    with pytest.raises(UserError, match='the image of s1 holds nothing above 0'):
        brain_mask(Volume(-marked.image, None, LAS, 's1'))


def test_only_images_finer_than_the_grid_are_smoothed():
    source = volume()
    assert smooth_for(source, grid_of((8, 8, 8)), np.eye(4)) is source.image
    assert smooth_for(source, grid_of((8, 8, 8), spacing=0.5), np.eye(4)) is source.image
    smooth = smooth_for(source, grid_of((8, 8, 8), spacing=2.0), np.eye(4))
    inside = (slice(9, 15), slice(10, 18), slice(11, 15))
    assert smooth[inside].std() < 0.6 * source.image[inside].std()
    assert smooth[inside].mean() == pytest.approx(source.image[inside].mean(), rel=0.02)
    # A matrix that magnifies is as good as a coarser grid, along its axis only.
    stretched = np.diag([3.0, 1, 1, 1])
    along_first = smooth_for(source, grid_of((8, 8, 8)), stretched)
    steps = [np.abs(np.diff(along_first[inside], axis=axis)).mean() for axis in range(3)]
    assert steps[0] < 0.6 * steps[1] and steps[0] < 0.6 * steps[2]


def test_width_of_the_gaussian():
    # f = 2: full width sqrt(3) voxels, so a variance of 3 / (8 ln 2) voxels^2; a point itself has none.
    point = np.zeros((1, 1, 41), np.float32)
    point[..., 20] = 1
    steps = np.diag([0.1, 0.1, 2.0, 1.0])
    smooth = smooth_for(Volume(point, None, np.eye(4), 'point'), ImageGrid((4, 4, 4), steps), np.eye(4))[0, 0]
    assert (smooth * (np.arange(41) - 20) ** 2).sum() == pytest.approx(3 / (8 * np.log(2)), rel=0.02)


def test_scaling_by_hand():
    values = np.array([-5.0, 0.0, 1.0, 2.0, 4.0])
    # The 99.9th percentile of 1, 2, 4 is 2 + 0.998 * 2.
    np.testing.assert_allclose(scale_to_white(values, 'x'), [0, 0, 1 / 3.996, 2 / 3.996, 1], rtol=1e-6)
    with pytest.raises(UserError, match='nothing of x inside the prepared grid'):
        scale_to_white(np.zeros(3), 'x')


def test_values_that_are_normalised_already_can_be_kept():
    source = volume(affine=np.eye(4))
    kept = Volume(source.image / 2000, None, source.affine, 's1')
    prepared = prepare_brain(kept, grid_of((24, 28, 26)), np.eye(4), keep_values=True)
    np.testing.assert_array_equal(prepared.image, kept.image)
    # Grey values beyond 1 are scaled all the same.
    assert prepare_brain(source, grid_of((24, 28, 26)), np.eye(4), keep_values=True).image.max() == 1


@pytest.mark.parametrize('axes', ['RAS', 'LIA', 'PSR'])
@pytest.mark.parametrize('shape', [(16, 20, 18), (27, 31, 30)])
def test_centred_grid_reorders_and_crops_without_interpolation(axes, shape):
    orientation = nib.orientations.axcodes2ornt(axes)
    original = nib.Nifti1Image(image(0).astype(np.float32), np.eye(4))
    turned = original.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), orientation))
    source = Volume(np.asarray(turned.dataobj), None, turned.affine, 's1')
    grid = centred_grid(source.grid, Grid(shape, (1.0, 1.0, 1.0)))
    assert grid.orientation == 'RAS'
    prepared = prepare_brain(source, grid, np.eye(4), keep_values=True)
    first = np.rint(grid.affine[:3, 3]).astype(int)
    np.testing.assert_allclose(grid.affine[:3, 3], first)
    # Half of what is too much or too little on either side, up to one voxel.
    assert (np.abs(np.subtract(image(0).shape, shape) / 2 - first) <= 0.5).all()
    padded = np.pad(image(0), 10)
    box = tuple(slice(start + 10, start + 10 + size) for start, size in zip(first, shape, strict=True))
    white = np.percentile(image(0)[image(0) > 0], 99.9)
    np.testing.assert_allclose(prepared.image, np.minimum(padded[box] / white, 1), atol=1e-3)


def test_centred_grid_of_another_voxel_size_keeps_the_centre():
    source = volume(affine=np.diag([0.5, 0.5, 2.0, 1.0]))
    grid = centred_grid(source.grid, Grid((12, 14, 52), (1.0, 1.0, 1.0)))
    assert grid.spacing == pytest.approx((1, 1, 1))
    np.testing.assert_allclose(grid.centre_mm, source.grid.centre_mm)
