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
    with pytest.raises(UserError, match='float64'):
        open_volume(volume, 'fixed', labels=np.ones((6, 7, 8)))


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
