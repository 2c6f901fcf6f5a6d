"""Images and labels on the fixed grid: how they are interpolated, what fills their outside, series."""

import functools
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.applying.images import Request, apply
from autofuse_jax.data.background import choose_background
from autofuse_jax.data.volumes import read_labels, write_image, write_labels
from autofuse_jax.transforms.grids import slabs
from autofuse_jax.transforms.resampling import (
    covered,
    moving_positions,
    sample_known,
    sample_labels,
    sample_labels_linear,
)
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.apply_transform.calls import FIXED, INFO, MOVING, fails, moved, positions, run, sample
from tests.transforms.examples import affine, both, grid, image, labels, record, turned


def test_an_image_and_labels_are_brought_onto_the_fixed_grid(data, tmp_path, capsys):
    assert run(data, tmp_path, '--image', 'moving.nii.gz', '--labels', 'labels.nii.gz') == 0
    found = nib.load(tmp_path / 'moving_moved.nii.gz')
    np.testing.assert_allclose(found.affine, FIXED.affine, atol=1e-5)
    np.testing.assert_allclose(moved(tmp_path / 'moving_moved.nii.gz'), sample(image(MOVING), positions()), atol=1e-4)
    found_labels, found_affine = read_labels(tmp_path / 'labels_moved.nii.gz')
    assert found_labels.shape == FIXED.shape and set(np.unique(found_labels)) == {0, 1, 2, 3}
    assert (found_labels == sample_labels(labels(MOVING), positions())).mean() > 0.9999
    assert 'moving.nii.gz onto fixed.nii.gz' in capsys.readouterr().out
    # Nothing else was left behind.
    assert sorted(path.name for path in tmp_path.iterdir()) == ['labels_moved.nii.gz', 'moving_moved.nii.gz']


def test_label_maps_in_npz_files_have_no_image_beside_them(data, tmp_path, capsys):
    write_labels(tmp_path / 'labels.npz', labels(MOVING), MOVING.affine)
    assert run(tmp_path, tmp_path / 'a', '--labels', 'labels.npz', transform=data / 'forward.nii.gz') == 0
    assert run(data, tmp_path / 'b', '--labels', 'labels.nii.gz') == 0
    np.testing.assert_array_equal(*(moved(tmp_path / name / 'labels_moved.nii.gz') for name in 'ab'))
    write_labels(tmp_path / 'grid.npz', labels(FIXED), FIXED.affine)
    arguments = ('--labels', str(data / 'labels.nii.gz'), '--reference', str(tmp_path / 'grid.npz'))
    assert run(data, tmp_path / 'c', *arguments) == 0
    np.testing.assert_array_equal(*(moved(tmp_path / name / 'labels_moved.nii.gz') for name in 'bc'))
    arguments = ('--transform', data / 'forward.nii.gz', '--image', tmp_path / 'labels.npz', '--out', tmp_path / 'd')
    assert "an array named 'vol'" in fails(capsys, *arguments)


def test_labels_label_by_label(data, tmp_path):
    assert run(data, tmp_path, '--labels', 'labels.nii.gz', '--label-interpolation', 'linear') == 0
    found = moved(tmp_path / 'labels_moved.nii.gz')
    nearest, by_share = sample_labels(labels(MOVING), positions()), sample_labels_linear(labels(MOVING), positions())
    assert (found == by_share).mean() > 0.999
    assert 0.9 < (by_share == nearest).mean() < 0.999


def test_labels_are_not_interpolated_as_an_image_by_accident(data, tmp_path, capsys):
    assert run(data, tmp_path, '--image', 'labels.nii.gz') == 0
    assert 'hint: ' in (text := capsys.readouterr().out) and '4 different whole numbers' in text and '--labels' in text
    assert run(data, tmp_path / 'b', '--image', 'moving.nii.gz') == 0
    assert 'hint' not in capsys.readouterr().out
    message = fails(
        capsys,
        *('--transform', data / 'forward.nii.gz', '--labels', data / 'moving.nii.gz', '--out', tmp_path / 'c'),
    )
    assert 'not whole numbers' in message and not (tmp_path / 'c').exists()


def test_an_image_of_one_value_is_moved_and_said(data, tmp_path, capsys):
    write_image(tmp_path / 'blank.nii.gz', np.full(MOVING.shape, 3), MOVING.affine)
    assert run(data, tmp_path, '--image', str(tmp_path / 'blank.nii.gz')) == 0
    assert (moved(tmp_path / 'blank_moved.nii.gz') == 3).all()
    assert 'has the same value 3 everywhere' in (text := capsys.readouterr().out) and 'hint' not in text


def test_large_images_take_little_more_memory_than_where_their_voxels_lie(tmp_path, monkeypatch):
    large = grid((60, 60, 60), (2, 2, 2))
    transform = both(large)
    write_image(tmp_path / 'image.nii', image(large), large.affine)
    write_transform(tmp_path / 'field.nii', transform, 'itk', TransformInfo(fixed=record(large, 'image.nii')))
    request = Request((str(tmp_path / 'field.nii'),), images=(tmp_path / 'image.nii',), out=tmp_path / 'out')
    for room in ('applying.images', 'applying.volumes', 'transforms_io.itk'):
        monkeypatch.setattr(f'autofuse_jax.{room}.slabs', functools.partial(slabs, voxels=10_000))
    tracemalloc.start()
    apply(request, say=lambda text: None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Two places of three float64, a field of three float32, the image and what is sampled of it.
    assert peak < 90 * np.prod(large.shape)
    expected = sample(image(large), moving_positions(transform, large, large.affine))
    np.testing.assert_allclose(moved(tmp_path / 'out' / 'image_moved.nii.gz'), expected, atol=1e-4)


def test_labels_that_get_lost_are_told(data, tmp_path, capsys):
    # A structure of one voxel in the last corner, which the fixed image does not show.
    small = labels(MOVING)
    small[0, 0, 0] = 77
    write_labels(tmp_path / 'small.nii.gz', small, MOVING.affine)
    assert run(data, tmp_path / 'out', '--labels', str(tmp_path / 'small.nii.gz')) == 0
    assert 'the labels 77 are not on the result' in capsys.readouterr().out


def test_a_series_is_moved_frame_by_frame(data, tmp_path):
    series = np.stack([image(MOVING), 1 - image(MOVING)], axis=-1)
    write_image(tmp_path / 'cine.nii.gz', series, MOVING.affine)
    assert run(data, tmp_path, '--image', str(tmp_path / 'cine.nii.gz')) == 0
    found = moved(tmp_path / 'cine_moved.nii.gz')
    assert found.shape == (*FIXED.shape, 2)
    np.testing.assert_allclose(
        found[..., 1], sample_known(1 - image(MOVING), positions(), choose_background(series).value), atol=1e-4
    )


def test_a_series_of_label_maps_is_moved_frame_by_frame(data, tmp_path):
    series = nib.Nifti1Image(np.stack([labels(MOVING), 2 * labels(MOVING)], -1).astype(np.uint8), MOVING.affine)
    series.header['pixdim'][4] = 2.5
    nib.save(series, tmp_path / 'seg.nii.gz')
    assert run(data, tmp_path, '--labels', str(tmp_path / 'seg.nii.gz')) == 0
    assert run(data, tmp_path / 'one', '--labels', 'labels.nii.gz') == 0
    found, one = nib.load(tmp_path / 'seg_moved.nii.gz'), moved(tmp_path / 'one' / 'labels_moved.nii.gz')
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.stack([one, 2 * one], -1))
    assert found.header['pixdim'][4] == 2.5


def test_another_reference_grid(data, tmp_path):
    other = grid((10, 11, 12), (3, 3, 3))
    write_image(tmp_path / 'other.nii.gz', image(other), other.affine)
    assert run(data, tmp_path, '--image', 'moving.nii.gz', '--reference', str(tmp_path / 'other.nii.gz')) == 0
    expected = sample(image(MOVING), moving_positions(both(FIXED), other, MOVING.affine))
    np.testing.assert_allclose(moved(tmp_path / 'moving_moved.nii.gz'), expected, atol=1e-3)


def test_an_image_of_the_wrong_side_is_pointed_out(data, tmp_path, capsys):
    forward = data / 'forward.nii.gz'
    write_labels(tmp_path / 'fixed_labels.nii.gz', labels(FIXED), FIXED.affine)
    given = ['--image', 'fixed.nii.gz', '--labels', str(tmp_path / 'fixed_labels.nii.gz')]
    assert run(data, tmp_path / 'a', *given) == 0
    text = capsys.readouterr().out
    assert f'warning: {data / "fixed.nii.gz"} lies on the grid of fixed.nii.gz, the fixed image' in text
    assert text.count('lies on the grid of') == 2 and f'for the other direction take inverse:{forward}' in text
    assert run(data, tmp_path / 'b', '--image', 'moving.nii.gz', '--inverse') == 0
    assert 'for the other direction leave out --inverse' in capsys.readouterr().out
    # The right side, and a grid that neither image has, are left alone.
    other = grid((10, 11, 12), (3, 3, 3))
    write_image(tmp_path / 'other.nii.gz', image(other), other.affine)
    assert run(data, tmp_path / 'c', '--image', 'moving.nii.gz', str(tmp_path / 'other.nii.gz')) == 0
    assert 'the other direction' not in capsys.readouterr().out


def test_an_image_that_itk_places_elsewhere_is_pointed_out_with_a_transform_of_itk(data, tmp_path, capsys):
    for name, on in (('fixed', FIXED), ('moving', MOVING)):
        stored = nib.Nifti1Image(image(on), on.affine)
        stored.set_sform(on.affine @ turned(10, 0), code='aligned')
        stored.set_qform(on.affine, code='scanner')
        nib.save(stored, tmp_path / f'{name}.nii.gz')
    names = [str(tmp_path / f'{name}.nii.gz') for name in ('moving', 'fixed')]
    arguments = ['--image', names[0], '--reference', names[1]]
    write_transform(tmp_path / 'foreign.txt', affine(), 'itk', INFO)
    (tmp_path / 'foreign.json').unlink()
    assert run(tmp_path, tmp_path / 'a', *arguments, transform='foreign.txt') == 0
    text = capsys.readouterr().out
    for name in ('moving', 'fixed'):
        assert f'warning: ITK takes the qform of {name}.nii.gz, which is up to' in text
    assert text.count('foreign.txt was made by a program of ITK') == 2
    # What this package wrote, it knows the place of.
    assert run(data, tmp_path / 'b', *arguments, transform='affine.txt') == 0
    assert (
        run(
            tmp_path,
            tmp_path / 'c',
            '--image',
            str(data / 'moving.nii.gz'),
            '--reference',
            str(data / 'fixed.nii.gz'),
            transform='foreign.txt',
        )
        == 0
    )
    assert 'ITK' not in capsys.readouterr().out


def test_a_ct_is_filled_with_air_and_the_value_is_said(data, tmp_path, capsys):
    far = grid((20, 20, 20), (4, 4, 4))
    write_image(tmp_path / 'far.nii.gz', image(far), far.affine)
    ct = np.where(image(MOVING) > 0.5, 1000 * image(MOVING), -1024).astype(np.float32)
    write_image(tmp_path / 'ct.nii.gz', ct, MOVING.affine)
    words = ['--image', str(tmp_path / 'ct.nii.gz'), '--reference', str(tmp_path / 'far.nii.gz')]
    for options, value in (([], -1024), (['--background', 'min'], -1024), (['--background', '-7'], -7)):
        assert run(data, tmp_path / f'{value}{len(options)}', *words, *options) == 0
        assert f'of the result lies outside of it and is filled with {value} (' in capsys.readouterr().out
        found = moved(tmp_path / f'{value}{len(options)}' / 'ct_moved.nii.gz')
        outside = ~covered(MOVING.shape, moving_positions(both(FIXED), far, MOVING.affine))
        assert outside.mean() > 0.3 and (found[outside] == value).all()
    for value in ('inf', '1e39'):
        with pytest.raises(SystemExit):
            run(data, tmp_path / 'x', *words, '--background', value)


def test_missing_data_stay_missing_and_are_said_once(data, tmp_path, capsys):
    holes = image(MOVING)
    holes[4:9, 5:9, 6:12] = np.nan
    holes[0, 0, 0] = np.inf
    write_image(tmp_path / 'map.nii.gz', holes, MOVING.affine)
    assert run(data, tmp_path / 'a', '--image', str(tmp_path / 'map.nii.gz')) == 0
    text = capsys.readouterr().out
    assert text.count('121 voxels are NaN') == 1
    found = moved(tmp_path / 'a' / 'map_moved.nii.gz')
    expected = sample_known(holes, positions(), choose_background(holes).value)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert 0 < np.isnan(found).mean() < 0.05
    whole = sample(image(MOVING), positions())
    # Nothing else differs but the few places next to the hole, whose known neighbours count alone.
    assert (np.abs(found - whole) > 1e-3).mean() < 0.02
    write_image(tmp_path / 'nothing.nii.gz', np.full(MOVING.shape, np.nan), MOVING.affine)
    words = ['--transform', data / 'forward.nii.gz', '--image', tmp_path / 'nothing.nii.gz', '--out', tmp_path / 'b']
    assert 'NaN or infinite' in fails(capsys, *words)
