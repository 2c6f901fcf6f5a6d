"""Images, labels and masks as files, arrays or volumes."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.inputs import open_volume, read_classes
from autofuse_jax.data.volumes import Volume, write_image, write_labels
from autofuse_jax.errors import UserError

AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])


@pytest.fixture
def volume():
    return Volume(np.random.default_rng(0).uniform(size=(6, 7, 8)).astype(np.float32), None, AFFINE, 'image')


def test_files_arrays_and_volumes_become_volumes(tmp_path, volume):
    path = tmp_path / 'image.nii.gz'
    write_image(path, volume.image, AFFINE)
    np.testing.assert_array_equal(open_volume(path, 'fixed').image, volume.image)
    assert open_volume(volume, 'fixed') is volume
    array = open_volume(volume.image.astype(np.float64), 'fixed')
    assert array.image.dtype == np.float32 and array.spacing == (1.0, 1.0, 1.0) and array.name == 'fixed'


@pytest.mark.parametrize('wrong', [np.zeros((3, 4)), np.full((3, 3, 3), np.nan), np.full((3, 3, 3), 'a')])
def test_arrays_that_are_no_images_are_refused(wrong):
    with pytest.raises(UserError, match='fixed array'):
        open_volume(wrong, 'fixed')


def test_labels_are_those_of_the_image(tmp_path, volume):
    labels = np.arange(6 * 7 * 8).reshape(6, 7, 8) % 5
    write_labels(tmp_path / 'labels.nii.gz', labels, AFFINE)
    np.testing.assert_array_equal(open_volume(volume, 'fixed', labels=tmp_path / 'labels.nii.gz').labels, labels)
    np.testing.assert_array_equal(open_volume(volume, 'fixed', labels=labels).labels, labels)
    assert open_volume(dataclasses.replace(volume, labels=labels), 'fixed').labels is labels


def test_labels_on_another_grid_are_refused_even_of_equal_shape(tmp_path, volume):
    labels = np.ones((6, 7, 8), np.int32)
    write_labels(tmp_path / 'shape.nii.gz', labels[:5], AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] = 4
    write_labels(tmp_path / 'place.nii.gz', labels, moved)
    for name in ('shape.nii.gz', 'place.nii.gz'):
        with pytest.raises(UserError, match=f'label map .*{name} lies on another grid than image: .* axes RAS, from'):
            open_volume(volume, 'fixed', labels=tmp_path / name)


def test_scaling_leaves_whole_numbers_what_they_are(volume):
    labels = np.random.default_rng(1).integers(0, 300, (6, 7, 8))
    # A slope of 0.1 in float32, as headers hold it.
    scaled = (labels * 10) * float(np.float32(0.1))
    assert (scaled != labels).any()
    np.testing.assert_array_equal(open_volume(volume, 'fixed', labels=scaled).labels, labels)
    with pytest.raises(UserError, match='not whole numbers'):
        open_volume(volume, 'fixed', labels=labels + 0.01)


def test_fractions_in_a_mask_are_weights(volume):
    rng = np.random.default_rng(2)
    soft = rng.uniform(size=(6, 7, 8))
    np.testing.assert_allclose(open_volume(volume, 'fixed', mask=soft).mask, soft, atol=1e-7)
    hard = (soft > 0.5).astype(np.float64)
    # A slope of 1/255 leaves 1.00000006 for 1; a mask of 0 and 255 and one of labels count where they are not 0.
    for mask in (hard * 1.00000006, hard * 255, hard * rng.integers(1, 9, hard.shape), hard.astype(bool)):
        np.testing.assert_array_equal(open_volume(volume, 'fixed', mask=mask).mask, hard)
    for wrong in (100 * soft, soft - 0.5):
        with pytest.raises(UserError, match='the mask of image holds fractions.*weights from 0 to 1'):
            open_volume(volume, 'fixed', mask=wrong)


@pytest.mark.parametrize('kind', ['labels', 'mask'])
@pytest.mark.parametrize('value', [np.nan, -np.inf])
def test_voxels_that_hold_no_number_are_named(volume, kind, value):
    # Ones inside and nothing known outside, and the same with fractions.
    for inside in (1.0, 0.4):
        array = np.full((6, 7, 8), value)
        array[2:4] = inside
        with pytest.raises(UserError, match=r'holds NaN or infinite values in 224 of 336 .* replace them by 0'):
            open_volume(volume, 'fixed', **{kind: array})


def test_a_mask_that_is_a_little_off_is_on_the_same_grid(tmp_path, volume):
    mask = np.ones((6, 7, 8), np.uint8)
    for shift, words in ((0.01, None), (0.07, None), (0.08, r'from \(0.08, 0.00, 0.00\).*0.0533 of a voxel')):
        moved = AFFINE.copy()
        moved[0, 3] += shift
        write_labels(tmp_path / 'mask.nii.gz', mask, moved)
        if words is None:
            assert open_volume(volume, 'fixed', mask=tmp_path / 'mask.nii.gz').mask.all()
            continue
        with pytest.raises(UserError, match=words):
            open_volume(volume, 'fixed', mask=tmp_path / 'mask.nii.gz')


def test_labels_with_axes_in_another_order_are_turned(tmp_path, volume):
    labels = np.random.default_rng(3).integers(0, 5, (6, 7, 8)).astype(np.uint8)
    image = nib.Nifti1Image(labels, AFFINE)
    for axes in ('LPS', 'ASR', 'PIL'):
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(AFFINE), axes_of(axes)))
        nib.save(turned, tmp_path / 'turned.nii.gz')
        np.testing.assert_array_equal(open_volume(volume, 'fixed', labels=tmp_path / 'turned.nii.gz').labels, labels)


def axes_of(letters):
    return nib.orientations.axcodes2ornt(letters)


def test_masks_are_ones_where_something_is(volume):
    mask = np.zeros((6, 7, 8), np.uint8)
    assert open_volume(volume, 'fixed').mask is None
    with pytest.raises(UserError, match='empty'):
        open_volume(volume, 'fixed', mask=mask)
    mask[2] = 7
    found = open_volume(volume, 'fixed', mask=mask).mask
    assert found.dtype == np.float32 and found.sum() == 56


def test_names_of_labels(tmp_path):
    path = tmp_path / 'names.json'
    path.write_text('{"3": "left ventricle"}')
    assert read_classes(path) == {3: 'left ventricle'} and read_classes(None) == {}
    path.write_text('["left ventricle"]')
    with pytest.raises(UserError, match='names.json.*Expected: JSON'):
        read_classes(path)


def test_a_label_map_of_an_unknown_format_is_refused(tmp_path, volume):
    nib.save(nib.Nifti1Image(np.full((6, 7, 8), 0.5, np.float32), AFFINE), tmp_path / 'half.nii.gz')
    with pytest.raises(UserError, match='not whole numbers'):
        open_volume(volume, 'fixed', labels=tmp_path / 'half.nii.gz')
