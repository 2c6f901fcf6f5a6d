"""Display orientation: the same patient looks the same whatever the order of the file's axes."""

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.reports.display import choose_views, display_of

SHAPE = (6, 7, 8)


def affine_of(codes: str, spacing=(1.0, 2.0, 3.0)) -> np.ndarray:
    """Affine of a grid whose array axes run towards these sides, world spacing along R, A, S."""
    affine = np.zeros((4, 4))
    for axis, code in enumerate(codes):
        row = next(row for row, pair in enumerate(('RL', 'AP', 'SI')) if code in pair)
        affine[row, axis] = spacing[row] * (1 if code in 'RAS' else -1)
    affine[3, 3] = 1
    return affine


def stored_as(codes: str, volume: np.ndarray) -> np.ndarray:
    """A RAS volume with its axes in another order and direction, by nibabel."""
    image = nib.Nifti1Image(volume, affine_of('RAS'))
    first, wanted = (nib.orientations.axcodes2ornt(tuple(letters)) for letters in ('RAS', codes))
    return np.asarray(image.as_reoriented(nib.orientations.ornt_transform(first, wanted)).dataobj)


@pytest.mark.parametrize('codes', ['RAS', 'LAS', 'LIA', 'PSR', 'SPL', 'LPI'])
def test_a_blob_is_shown_at_the_same_place_for_every_order_of_axes(codes):
    # Patient's right (x high), anterior (y high), superior (z high) in a RAS volume.
    volume = np.zeros(SHAPE)
    volume[5, 5, 6] = 1
    stored = stored_as(codes, volume)
    display = display_of(affine_of(codes), stored.shape)
    assert display.shape == SHAPE and display.spacing == (1.0, 2.0, 3.0) and display.tilt == 0
    shown = display.volume(stored)
    # Towards left, posterior, inferior: x 5 of 0-5 is first, y 5 of 0-6 second, z 6 of 0-7 second.
    assert np.argwhere(shown).tolist() == [[0, 1, 1]]
    axial, coronal, sagittal = (display.view(axis, index) for axis, index in ((2, 1), (1, 1), (0, 0)))
    assert np.argwhere(axial.cut(shown)).tolist() == [[1, 0]]
    assert np.argwhere(coronal.cut(shown)).tolist() == [[1, 0]]
    assert np.argwhere(sagittal.cut(shown)).tolist() == [[1, 1]]
    assert (axial.sides, coronal.sides, sagittal.sides) == (
        ('R', 'L', 'A', 'P'),
        ('R', 'L', 'S', 'I'),
        ('A', 'P', 'S', 'I'),
    )


@pytest.mark.parametrize('codes', ['RAS', 'LIA', 'PSR'])
def test_vectors_turn_with_the_axes_and_indices_are_those_of_the_file(codes):
    display = display_of(affine_of(codes), stored_as(codes, np.zeros(SHAPE)).shape)
    # One millimetre to the right, four anterior, nine up are -1, -2, -3 voxels towards left, posterior, inferior.
    voxels = np.linalg.inv(affine_of(codes)[:3, :3]) @ [1.0, 4.0, 9.0]
    np.testing.assert_allclose(display.vectors(voxels), [-1, -2, -3])
    stored = np.moveaxis(np.indices(stored_as(codes, np.zeros(SHAPE)).shape), 0, -1)
    shown = display.volume(stored)
    for axis, index in ((0, 1), (1, 2), (2, 5)):
        view = display.view(axis, index)
        assert (view.cut(shown)[..., view.file_axis] == view.file_index).all()
        assert f'voxel {"ijk"[view.file_axis]} = {view.file_index} of 0–' in view.name


def test_oblique_grids_use_the_nearest_axes():
    angle = np.radians(20)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    display = display_of(turned @ affine_of('LAS', (1.0, 1.0, 1.0)), SHAPE)
    assert display.tilt == pytest.approx(20)
    assert display.spacing == pytest.approx((1.0, 1.0, 1.0))
    assert display.transform.tolist() == display_of(affine_of('LAS'), SHAPE).transform.tolist()


def test_three_planes_through_the_largest_cross_sections():
    weight = np.zeros(SHAPE, bool)
    weight[1:4, 2:5, 3] = True
    weight[2, 3, :] = True
    views = choose_views(display_of(affine_of('LPI', (1.0, 1.0, 1.0)), SHAPE), weight)
    assert [(view.axis, view.index) for view in views] == [(2, 3), (1, 3), (0, 2)]
    # Of equal slices the middle one.
    weight[2, 3, :] = False
    weight[:, :, 3:6] = weight[:, :, 3:4]
    assert choose_views(display_of(affine_of('LPI', (1.0, 1.0, 1.0)), SHAPE), weight)[0].index == 4
    empty = choose_views(display_of(affine_of('LPI', (1.0, 1.0, 1.0)), SHAPE), np.zeros(SHAPE))
    assert [view.index for view in empty] == [4, 3, 3]


def test_thick_stacks_show_slices_of_their_own_plane():
    display = display_of(affine_of('LPI', (1.5, 1.5, 10.0)), (6, 7, 12))
    weight = np.zeros((6, 7, 12))
    weight[:, :, 1:12] = 1
    # 0.2, 0.5 and 0.8 of the 10 steps from slice 1 to slice 11.
    assert [(view.axis, view.index) for view in choose_views(display, weight)] == [(2, 3), (2, 6), (2, 9)]
    weight[:, :, 2:] = 0
    assert [view.index for view in choose_views(display, weight)] == [1]
    assert [view.index for view in choose_views(display, 0 * weight)] == [2, 6, 9]


def test_extent_and_the_last_slice_of_a_smaller_volume():
    view = display_of(affine_of('LPI'), SHAPE).view(1, 6)
    assert view.spacing == (1.0, 3.0)
    assert view.extent(rows=8, columns=6) == (-0.5, 5.5, 22.5, -1.5)
    assert view.extent(rows=7, columns=5, shift=0.5) == (0.0, 5.0, 21.0, 0.0)
    smaller = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    np.testing.assert_array_equal(view.cut(smaller), smaller[:, 5].T)
