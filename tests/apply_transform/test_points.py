"""Points, pushed where images are pulled: which way they go, units, places outside, what of their files is kept."""

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image
from autofuse_jax.transforms.grids import grid_points, to_voxels
from tests.apply_transform.calls import FIXED, MOVING, POINTS, moved, read_csv, run
from tests.transforms.examples import both, grid, image


def test_coordinates_that_are_not_moved_are_said(data, tmp_path, capsys):
    (tmp_path / 'p.csv').write_text('x,y,z,l,p,s\n3,-7,11,-3,7,11\n')
    assert run(data, tmp_path, '--points', str(tmp_path / 'p.csv'), '--points-units', 'mm-lps') == 0
    assert 'warning: the columns 1, 2, 3 of' in capsys.readouterr().out
    assert (tmp_path / 'p_moved.csv').read_text().splitlines()[1].startswith(',,,')


def test_tables_of_ants_are_pointed_out(data, tmp_path, capsys):
    (tmp_path / 'p.csv').write_text('x,y,z,t\n3,-7,11,0\n')
    assert run(data, tmp_path / 'a', '--points', str(tmp_path / 'p.csv')) == 0
    text = capsys.readouterr().out
    assert 'are those of ANTs, which counts in LPS' in text and '--points-units mm-lps' in text
    for units in ('mm', 'mm-lps'):
        assert run(data, tmp_path / units, '--points', str(tmp_path / 'p.csv'), '--points-units', units) == 0
    assert run(data, tmp_path / 'b', '--points', 'on_moving.csv') == 0
    assert 'ANTs' not in capsys.readouterr().out


def test_points_of_the_moving_image_take_the_inverse(data, tmp_path, capsys):
    assert run(data, tmp_path, '--points', 'on_moving.csv') == 0
    found = read_csv(tmp_path / 'on_moving_moved.csv')
    np.testing.assert_allclose(found[:, :3], POINTS, atol=0.01)
    assert (found[:, 3] == 1).all()
    text = capsys.readouterr().out
    assert 'An image is pulled' in text and 'Points are pushed' in text and 'take the inverse' in text
    assert float(text.split('there and back: mean ')[1].split(' mm, largest ')[1].split(' mm')[0]) < 0.1


def test_points_of_the_fixed_image_take_the_transform_as_it_is(data, tmp_path, capsys):
    assert run(data, tmp_path, '--points', 'on_fixed.csv', '--points-in', 'fixed') == 0
    expected = read_csv(data / 'on_moving.csv')
    np.testing.assert_allclose(read_csv(tmp_path / 'on_fixed_moved.csv')[:, :3], expected, atol=1e-3)
    assert 'take the transform as it is' in capsys.readouterr().out


def test_points_and_images_move_alike(data, tmp_path):
    # A bright blob at a point of the moving image appears where the point is sent.
    point = both(FIXED).map_points(POINTS[:1])
    distance = np.linalg.norm(grid_points(MOVING) - point[0], axis=-1)
    write_image(tmp_path / 'blob.nii.gz', np.exp(-((distance / 4) ** 2)), MOVING.affine)
    (tmp_path / 'blob.csv').write_text('x,y,z\n' + ','.join(str(value) for value in point[0]) + '\n')
    assert run(data, tmp_path, '--image', str(tmp_path / 'blob.nii.gz'), '--points', str(tmp_path / 'blob.csv')) == 0
    blob = moved(tmp_path / 'blob_moved.nii.gz').astype(np.float64) ** 2
    middle = (grid_points(FIXED) * blob[..., None]).sum(axis=(0, 1, 2)) / blob.sum()
    np.testing.assert_allclose(read_csv(tmp_path / 'blob_moved.csv')[:3], middle, atol=0.4)
    assert np.linalg.norm(point[0] - middle) > 1.5


@pytest.mark.parametrize('units', ['mm-lps', 'voxel'])
def test_units_of_points(data, tmp_path, units):
    on_moving = read_csv(data / 'on_moving.csv')
    if units == 'voxel':
        given, expected = to_voxels(MOVING.affine, on_moving), to_voxels(FIXED.affine, POINTS)
    else:
        given, expected = on_moving * [-1, -1, 1], POINTS * [-1, -1, 1]
    np.savetxt(tmp_path / 'p.csv', given, delimiter=',')
    assert run(data, tmp_path, '--points', str(tmp_path / 'p.csv'), '--points-units', units) == 0
    found = np.loadtxt(tmp_path / 'p_moved.csv', delimiter=',')
    assert found.shape == (len(POINTS), 3)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_voxels_of_results_are_those_of_the_reference_as_for_images(data, tmp_path):
    other = grid((20, 20, 20), (3, 2, 4))
    write_image(tmp_path / 'other.nii.gz', image(other), other.affine)
    np.savetxt(tmp_path / 'p.csv', to_voxels(MOVING.affine, read_csv(data / 'on_moving.csv')), delimiter=',')
    words = ['--points', str(tmp_path / 'p.csv'), '--points-units', 'voxel']
    assert run(data, tmp_path, *words, '--reference', str(tmp_path / 'other.nii.gz')) == 0
    found = np.loadtxt(tmp_path / 'p_moved.csv', delimiter=',')
    np.testing.assert_allclose(found, to_voxels(other.affine, POINTS), atol=0.01)


def test_points_outside_move_with_the_nearest_voxel_and_are_told(data, tmp_path, capsys):
    (tmp_path / 'p.csv').write_text('x,y,z\n3,-7,11\n400,0,0\n')
    assert run(data, tmp_path, '--points', str(tmp_path / 'p.csv'), '--points-in', 'fixed') == 0
    found = read_csv(tmp_path / 'p_moved.csv')
    np.testing.assert_array_equal(found[:, 3], [1, 0])
    assert np.isfinite(found).all()
    text = capsys.readouterr().out
    assert 'warning: 1 of 2 points of' in text and '(lines 3)' in text and "column 'inside' is 0" in text


def test_series_keep_their_times_and_slicer_its_form(data, tmp_path):
    series = nib.Nifti1Image(np.stack([image(MOVING), 2 * image(MOVING)], -1).astype(np.float32), MOVING.affine)
    series.header['pixdim'][4], series.header['descrip'] = 2.5, b'at rest'
    series.header.set_xyzt_units('mm', 'sec')
    nib.save(series, tmp_path / 'bold.nii.gz')
    rows = '\n'.join(f'{n},{x},{y},{z},0' for n, (x, y, z) in enumerate(POINTS * [-1, -1, 1]))
    (tmp_path / 'p.fcsv').write_text(f'# CoordinateSystem = LPS\n# columns = id,x,y,z,sel\n{rows}\n')
    more = ['--points', str(tmp_path / 'p.fcsv'), '--points-in', 'fixed']
    assert run(data, tmp_path, '--image', str(tmp_path / 'bold.nii.gz'), *more) == 0
    header = nib.load(tmp_path / 'bold_moved.nii.gz').header
    assert header['pixdim'][4] == 2.5 and header.get_xyzt_units() == ('mm', 'sec')
    assert header['descrip'].item() == b'at rest'
    there = np.loadtxt(tmp_path / 'p_moved.fcsv', delimiter=',')[:, 1:4] * [-1, -1, 1]
    np.testing.assert_allclose(there, both(FIXED).map_points(POINTS), atol=1e-3)
