import dataclasses
import importlib.util
import json

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.apply_transform import main
from autofuse_jax.data.background import choose_background
from autofuse_jax.data.volumes import read_labels, write_image, write_labels
from autofuse_jax.transforms.grids import grid_points, to_voxels
from autofuse_jax.transforms.inversion import invert_points
from autofuse_jax.transforms.maps import Chain, DenseTransform
from autofuse_jax.transforms.resampling import (
    covered,
    moving_positions,
    sample_known,
    sample_labels,
    sample_labels_linear,
)
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.fsl import fsl_frame
from autofuse_jax.transforms_io.sidecar import TransformInfo, read_sidecar
from tests.transforms.examples import PAIRS, affine, both, grid, image, inner_points, labels, record, smooth
from tests.transforms_io.foreign import write_lta, write_matlab, write_matrix

FIXED, MOVING = PAIRS['oblique']
INFO = TransformInfo(fixed=record(FIXED, 'fixed.nii.gz'), moving=record(MOVING, 'moving.nii.gz'))
POINTS = inner_points(FIXED, 6)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder with images, labels, points and transforms, as a registration leaves them."""
    folder = tmp_path_factory.mktemp('data')
    write_image(folder / 'fixed.nii.gz', image(FIXED), FIXED.affine)
    write_image(folder / 'moving.nii.gz', image(MOVING), MOVING.affine)
    write_labels(folder / 'labels.nii.gz', labels(MOVING), MOVING.affine)
    write_transform(folder / 'forward.nii.gz', both(FIXED), 'itk', INFO)
    write_transform(folder / 'affine.txt', affine(), 'itk', INFO)
    np.savetxt(folder / 'on_fixed.csv', POINTS, delimiter=',', header='x,y,z', comments='')
    np.savetxt(folder / 'on_moving.csv', both(FIXED).map_points(POINTS), delimiter=',', header='x,y,z', comments='')
    return folder


def run(data, out, *arguments, transform='forward.nii.gz'):
    """Run with paths of the data folder where an argument names a file there."""
    named = [str(data / word) if (data / word).is_file() else word for word in arguments]
    return main(['--transform', str(data / transform), *named, '--out', str(out)])


def fails(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith('error: ') and captured.count('\n') == 1
    return captured


def moved(path):
    return np.asarray(nib.load(path).dataobj)


def sample(array, positions):
    return sample_known(array, positions, choose_background(array).value)


def positions():
    return moving_positions(both(FIXED), FIXED, MOVING.affine)


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


def test_coordinates_that_are_not_moved_are_said(data, tmp_path, capsys):
    (tmp_path / 'p.csv').write_text('x,y,z,l,p,s\n3,-7,11,-3,7,11\n')
    assert run(data, tmp_path, '--points', str(tmp_path / 'p.csv'), '--points-units', 'mm-lps') == 0
    assert 'warning: the columns 1, 2, 3 of' in capsys.readouterr().out
    assert (tmp_path / 'p_moved.csv').read_text().splitlines()[1].startswith(',,,')


def test_another_reference_grid(data, tmp_path):
    other = grid((10, 11, 12), (3, 3, 3))
    write_image(tmp_path / 'other.nii.gz', image(other), other.affine)
    assert run(data, tmp_path, '--image', 'moving.nii.gz', '--reference', str(tmp_path / 'other.nii.gz')) == 0
    expected = sample(image(MOVING), moving_positions(both(FIXED), other, MOVING.affine))
    np.testing.assert_allclose(moved(tmp_path / 'moving_moved.nii.gz'), expected, atol=1e-3)


def read_csv(path):
    return np.loadtxt(path, delimiter=',', skiprows=1)


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


def test_points_outside_move_with_the_nearest_voxel_and_are_told(data, tmp_path, capsys):
    (tmp_path / 'p.csv').write_text('x,y,z\n3,-7,11\n400,0,0\n')
    assert run(data, tmp_path, '--points', str(tmp_path / 'p.csv'), '--points-in', 'fixed') == 0
    found = read_csv(tmp_path / 'p_moved.csv')
    np.testing.assert_array_equal(found[:, 3], [1, 0])
    assert np.isfinite(found).all()
    text = capsys.readouterr().out
    assert 'warning: 1 of 2 points of' in text and '(lines 3)' in text and "column 'inside' is 0" in text


def test_the_inverse_brings_the_fixed_image_back(data, tmp_path, capsys):
    for name, words in [('a', ['--inverse']), ('b', [])]:
        transform = data / 'forward.nii.gz'
        first = str(transform) if words else f'inverse:{transform}'
        arguments = ['--transform', first, *words, '--image', str(data / 'fixed.nii.gz'), '--out', str(tmp_path / name)]
        assert main(arguments) == 0
        assert 'residual mean' in capsys.readouterr().out
    found = moved(tmp_path / 'a' / 'fixed_moved.nii.gz')
    np.testing.assert_array_equal(found, moved(tmp_path / 'b' / 'fixed_moved.nii.gz'))
    # The fixed image is a function of space, so what is shown at T(p) must be its value at p, up to interpolation.
    assert found.shape == MOVING.shape
    solved, inversion = invert_points(both(FIXED), grid_points(MOVING))
    assert inversion.max_mm < 0.01
    expected = sample(image(FIXED), np.moveaxis(to_voxels(FIXED.affine, solved), -1, 0))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (found > 0).mean() > 0.3


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


def test_several_transforms_are_joined_and_interpolated_once(data, tmp_path):
    third = PAIRS['isotropic'][0]
    second = smooth(third, size=2)
    info = TransformInfo(fixed=record(third, 'third.nii.gz'), moving=INFO.fixed)
    write_transform(tmp_path / 'second.nii.gz', second, 'voxel', info)
    arguments = ['--transform', str(data / 'forward.nii.gz'), str(tmp_path / 'second.nii.gz'), '--out', str(tmp_path)]
    assert main([*arguments, '--image', str(data / 'moving.nii.gz')]) == 0
    chain = Chain((both(FIXED), second))
    expected = sample(image(MOVING), moving_positions(chain, third, MOVING.affine))
    np.testing.assert_allclose(moved(tmp_path / 'moving_moved.nii.gz'), expected, atol=2e-4)
    # The way back has the same order on the command line.
    back = [*arguments, '--inverse', '--image', str(tmp_path / 'third.nii.gz')]
    write_image(tmp_path / 'third.nii.gz', image(third), third.affine)
    assert main(back) == 0
    assert moved(tmp_path / 'third_moved.nii.gz').shape == MOVING.shape
    # Points there and back again.
    points = inner_points(third, 5)
    np.savetxt(tmp_path / 'p.csv', points, delimiter=',')
    assert main([*arguments, '--points', str(tmp_path / 'p.csv'), '--points-in', 'fixed']) == 0
    found = np.loadtxt(tmp_path / 'p_moved.csv', delimiter=',')
    np.testing.assert_allclose(found, chain.map_points(points), atol=1e-3)
    assert main([*arguments, '--points', str(tmp_path / 'p_moved.csv')]) == 0
    np.testing.assert_allclose(np.loadtxt(tmp_path / 'p_moved_moved.csv', delimiter=','), points, atol=0.01)


def test_steps_that_do_not_meet_are_told(data, tmp_path, capsys):
    transform = str(data / 'forward.nii.gz')
    assert (
        main(['--transform', transform, transform, '--image', str(data / 'moving.nii.gz'), '--out', str(tmp_path)]) == 0
    )
    assert 'warning: ' in (text := capsys.readouterr().out) and 'right only if both show the same space' in text


@pytest.mark.parametrize('convention', ['itk', 'fsl', 'learn2reg', 'voxel'])
def test_a_composition_is_saved_in_each_convention(data, tmp_path, convention):
    path = tmp_path / 'joined.nii.gz'
    arguments = ['--transform', str(data / 'forward.nii.gz'), '--save-transform', str(path), '--format', convention]
    assert main(arguments) == 0
    found, info = read_transform(path)
    assert info.convention == convention and info.fixed.file == 'fixed.nii.gz' and info.moving.file == 'moving.nii.gz'
    assert info.settings == {'composed_of': ['forward.nii.gz']}
    np.testing.assert_allclose(found.map_points(POINTS), both(FIXED).map_points(POINTS), atol=1e-3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['joined.json', 'joined.nii.gz']


def test_affine_transforms_are_joined_as_text(data, tmp_path, capsys):
    arguments = ['--transform', str(data / 'affine.txt'), str(data / 'affine.txt')]
    assert main([*arguments, '--save-transform', str(tmp_path / 'twice.txt')]) == 0
    found, _ = read_transform(tmp_path / 'twice.txt')
    np.testing.assert_allclose(found.matrix, affine().matrix @ affine().matrix, atol=1e-12)
    assert (
        main(['--transform', str(tmp_path / 'twice.txt'), '--inverse', '--save-transform', str(tmp_path / 'b.tfm')])
        == 0
    )
    found, info = read_transform(tmp_path / 'b.tfm')
    np.testing.assert_allclose(found.matrix @ affine().matrix @ affine().matrix, np.eye(4), atol=1e-12)
    assert info.fixed.file == 'moving.nii.gz'
    text = fails(capsys, '--transform', data / 'forward.nii.gz', '--save-transform', tmp_path / 'c.txt')
    assert 'can hold an affine transform only' in text


def test_the_inverse_is_saved_as_a_field(data, tmp_path):
    path = tmp_path / 'back.nii.gz'
    assert main(['--transform', f'inverse:{data / "forward.nii.gz"}', '--save-transform', str(path)]) == 0
    back, info = read_transform(path)
    assert info.fixed.file == 'moving.nii.gz' and back.grid.same_as(MOVING)
    np.testing.assert_allclose(back.map_points(both(FIXED).map_points(POINTS)), POINTS, atol=0.1)


def test_files_of_other_tools_need_their_images_named(data, tmp_path, capsys):
    given = ['--fixed', data / 'fixed.nii.gz', '--moving', data / 'moving.nii.gz']
    write_transform(tmp_path / 'disp_0001_0002.nii.gz', both(FIXED), 'learn2reg', INFO)
    (tmp_path / 'disp_0001_0002.json').unlink()
    wanted = ['--transform', tmp_path / 'disp_0001_0002.nii.gz', '--image', data / 'moving.nii.gz', '--out', tmp_path]
    assert 'without the fixed image' in fails(capsys, *wanted)
    assert main([str(word) for word in [*wanted, *given]]) == 0
    expected = sample(image(MOVING), positions())
    np.testing.assert_allclose(moved(tmp_path / 'moving_moved.nii.gz'), expected, atol=1e-4)
    # Of several, the images belong to the one that does not name its own.
    joined = [str(tmp_path / 'disp_0001_0002.nii.gz'), f'inverse:{data / "affine.txt"}', str(data / 'affine.txt')]
    words = ['--image', data / 'moving.nii.gz', '--out', tmp_path / 'joined', *given]
    assert main(['--transform', *joined, *map(str, words)]) == 0
    np.testing.assert_allclose(moved(tmp_path / 'joined' / 'moving_moved.nii.gz'), expected, atol=1e-4)
    two = ['--transform', joined[0], joined[0], *wanted[2:], *given, '--overwrite']
    assert 'several transforms together with --fixed' in fails(capsys, *two)


def test_transforms_of_other_programs_move_an_image_alike(data, tmp_path, capsys):
    lps = np.diag([-1.0, -1, 1, 1])
    matrix = lps @ affine().matrix @ lps
    numbers = [*matrix[:3, :3].ravel(), *matrix[:3, 3]]
    write_matlab(tmp_path / '0GenericAffine.mat', 'AffineTransform_double_3_3', numbers, [0, 0, 0])
    write_lta(tmp_path / 'a.lta', np.linalg.inv(affine().matrix), 1, MOVING, FIXED)
    push = np.linalg.inv(FIXED.affine) @ np.linalg.inv(affine().matrix) @ MOVING.affine
    write_matrix(tmp_path / 'flirt.mat', fsl_frame(FIXED) @ push @ np.linalg.inv(fsl_frame(MOVING)))
    write_transform(tmp_path / 'a.tfm', affine(), 'itk', INFO)
    names = ['0GenericAffine.mat', 'a.lta', 'flirt.mat', 'a.tfm']
    if importlib.util.find_spec('h5py'):
        write_transform(tmp_path / 'b.h5', affine(), 'itk', INFO)
        names.append('b.h5')
    expected = sample(image(MOVING), moving_positions(affine(), FIXED, MOVING.affine))
    for name in names:
        words = [
            '--image',
            data / 'moving.nii.gz',
            '--reference',
            data / 'fixed.nii.gz',
            '--out',
            tmp_path / f'out_{name}',
        ]
        assert main([str(word) for word in ['--transform', tmp_path / name, *words]]) == 0
        found = moved(tmp_path / f'out_{name}' / 'moving_moved.nii.gz')
        # Where rounding decides whether a place is inside, one of the two is the background.
        assert (np.abs(found - expected) > 1e-3).mean() < 1e-3, name
    text = capsys.readouterr().out
    # What flirt leaves out is taken from the call, as flirt itself does, and said.
    assert 'affine, flirt.mat, pulls moving.nii.gz onto fixed.nii.gz' in text
    assert 'affine, a.lta, pulls moving.mgz onto fixed.mgz' in text


def test_a_composite_is_applied_both_ways_saved_and_converted(data, tmp_path):
    pytest.importorskip('h5py')
    write_transform(tmp_path / 'Composite.h5', Chain((affine(), smooth(FIXED))), 'itk', INFO)
    assert run(data, tmp_path / 'a', '--image', 'moving.nii.gz', transform=tmp_path / 'Composite.h5') == 0
    np.testing.assert_allclose(
        moved(tmp_path / 'a' / 'moving_moved.nii.gz'), sample(image(MOVING), positions()), atol=5e-4
    )
    # Points of the moving image take the inverse of every part.
    assert run(data, tmp_path / 'a', '--points', 'on_moving.csv', transform=tmp_path / 'Composite.h5') == 0
    np.testing.assert_allclose(read_csv(tmp_path / 'a' / 'on_moving_moved.csv')[:, :3], POINTS, atol=0.01)
    # A chain keeps its parts in .h5 and becomes one field in .nii.gz.
    parts = [str(data / 'affine.txt'), str(data / 'forward.nii.gz')]
    assert main(['--transform', *parts, '--save-transform', str(tmp_path / 'joined.h5')]) == 0
    joined, info = read_transform(tmp_path / 'joined.h5')
    assert info.kind == 'composite' and len(joined.transforms) == 2
    assert main(['--transform', str(tmp_path / 'joined.h5'), '--save-transform', str(tmp_path / 'field.nii.gz')]) == 0
    field, _ = read_transform(tmp_path / 'field.nii.gz')
    np.testing.assert_allclose(field.map_points(POINTS), joined.map_points(POINTS), atol=0.01)
    # An inverse that is solved for is sampled.
    back = ['--transform', f'inverse:{data / "forward.nii.gz"}', '--save-transform', str(tmp_path / 'back.h5')]
    assert main(back) == 0
    inverse, _ = read_transform(tmp_path / 'back.h5')
    np.testing.assert_allclose(inverse.map_points(both(FIXED).map_points(POINTS)), POINTS, atol=0.1)


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
    with pytest.raises(SystemExit):
        run(data, tmp_path / 'x', *words, '--background', 'inf')


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


def test_an_affine_without_sidecar_needs_a_reference(data, tmp_path, capsys):
    write_transform(tmp_path / 'a.txt', affine(), 'itk', INFO)
    (tmp_path / 'a.json').unlink()
    wanted = ['--transform', tmp_path / 'a.txt', '--image', data / 'moving.nii.gz', '--out', tmp_path]
    assert 'name an image on it with --reference' in fails(capsys, *wanted)
    assert main([str(word) for word in [*wanted, '--reference', data / 'fixed.nii.gz']]) == 0
    voxel = ['--transform', tmp_path / 'a.txt', '--points', data / 'on_moving.csv', '--points-units', 'voxel']
    assert 'needs the grid of the moving image' in fails(capsys, *voxel, '--out', tmp_path)


def test_results_are_not_overwritten_unless_asked(data, tmp_path, capsys):
    arguments = ['--transform', data / 'forward.nii.gz', '--image', data / 'moving.nii.gz', '--out', tmp_path]
    (tmp_path / 'moving_moved.nii.gz').write_text('precious')
    assert 'moving_moved.nii.gz exists' in fails(capsys, *arguments)
    assert (tmp_path / 'moving_moved.nii.gz').read_text() == 'precious'
    assert main([str(word) for word in [*arguments, '--overwrite']]) == 0
    assert moved(tmp_path / 'moving_moved.nii.gz').shape == FIXED.shape
    saving = ['--transform', data / 'forward.nii.gz', '--save-transform']
    (tmp_path / 'scan.json').write_text('{"EchoTime": 0.03}')
    assert 'no sidecar of a transform' in fails(capsys, *saving, tmp_path / 'scan.nii.gz', '--overwrite')
    assert 'scan.json exists' in fails(capsys, *saving, tmp_path / 'scan.nii.gz')


def test_one_bad_input_and_nothing_is_written(data, tmp_path, capsys):
    (tmp_path / 'bad.csv').write_text('x,y,z\n1,2,3\n4,5,nan\n')
    (tmp_path / 'empty.csv').write_text('')
    truncated = (data / 'labels.nii.gz').read_bytes()[:200]
    (tmp_path / 'truncated.nii.gz').write_bytes(truncated)
    start = ['--transform', data / 'forward.nii.gz', '--image', data / 'moving.nii.gz', '--out', tmp_path / 'out']
    assert 'bad.csv, line 3' in fails(capsys, *start, '--points', tmp_path / 'bad.csv')
    assert 'truncated.nii.gz cannot be read' in fails(capsys, *start, '--labels', tmp_path / 'truncated.nii.gz')
    assert 'there is no file' in fails(capsys, *start, '--labels', tmp_path / 'absent.nii.gz')
    assert 'empty.csv is empty' in fails(capsys, *start, '--points', tmp_path / 'empty.csv')
    assert not (tmp_path / 'out').exists()


def test_wrong_calls(data, tmp_path, capsys):
    forward = data / 'forward.nii.gz'
    assert 'no transform is named' in fails(capsys, '--image', data / 'moving.nii.gz', '--out', tmp_path)
    assert 'nothing to apply' in fails(capsys, '--transform', forward)
    assert 'no folder for the results' in fails(capsys, '--transform', forward, '--image', data / 'moving.nii.gz')
    assert 'is no transform but an image' in fails(
        capsys, '--transform', data / 'fixed.nii.gz', '--image', data / 'moving.nii.gz', '--out', tmp_path
    )
    twice = ['--transform', forward, '--image', data / 'moving.nii.gz', '--labels', data / 'moving.nii.gz']
    assert 'would both be written' in fails(capsys, *twice, '--out', tmp_path)
    moving = ['--transform', forward, '--image', data / 'moving.nii.gz', '--out', tmp_path]
    for more in (['--points-in', 'fixed'], ['--label-interpolation', 'linear'], ['--format', 'fsl']):
        assert f'{more[0]} is given without' in fails(capsys, *moving, *more)
    given = ['--explain', forward, '--image', data / 'moving.nii.gz']
    assert '--image is given together with --explain' in fails(capsys, *given)
    assert '--explain together with --transform' in fails(capsys, '--transform', forward, '--explain', forward)
    assert 'no file name for a transform' in fails(
        capsys, '--transform', forward, '--save-transform', tmp_path / 'a.mat'
    )
    (tmp_path / 'file').write_text('')
    assert 'is a file' in fails(
        capsys, '--transform', forward, '--points', data / 'on_fixed.csv', '--out', tmp_path / 'file'
    )


def test_an_image_that_the_transform_never_reaches(data, tmp_path, capsys):
    far = grid((8, 8, 8), (2, 2, 2), centre=(900, 0, 0))
    write_image(tmp_path / 'far.nii.gz', image(far), far.affine)
    text = fails(
        capsys, '--transform', data / 'forward.nii.gz', '--image', tmp_path / 'far.nii.gz', '--out', tmp_path / 'out'
    )
    assert 'does not overlap' in text and 'inverse:FILE' in text and not (tmp_path / 'out').exists()


def test_a_transform_without_inverse(data, tmp_path, capsys):
    on = grid((12, 12, 12), (1, 1, 1), centre=(0, 0, 0))
    noise = np.random.default_rng(0).uniform(-6, 6, (12, 12, 12, 3)).astype(np.float32)
    info = dataclasses.replace(INFO, fixed=record(on, 'f.nii'), moving=record(on, 'm.nii'))
    write_transform(tmp_path / 'folded.nii.gz', DenseTransform(noise, on.affine), 'itk', info)
    write_image(tmp_path / 'image.nii.gz', image(on), on.affine)
    text = fails(
        capsys,
        *('--transform', f'inverse:{tmp_path / "folded.nii.gz"}', '--image', tmp_path / 'image.nii.gz'),
        *('--out', tmp_path / 'out'),
    )
    assert 'cannot be inverted' in text and not (tmp_path / 'out').exists()
    # Points of the fixed image need no inverse; only the check of the way back is missing.
    np.savetxt(tmp_path / 'p.csv', inner_points(on, 50), delimiter=',')
    points = ['--transform', tmp_path / 'folded.nii.gz', '--points', tmp_path / 'p.csv', '--out', tmp_path / 'out']
    assert 'cannot be inverted' in fails(capsys, *points)
    assert main([str(word) for word in [*points, '--points-in', 'fixed']]) == 0
    assert 'warning: there and back cannot be checked' in capsys.readouterr().out


def test_files_are_explained(data, capsys):
    assert main(['--explain', str(data / 'forward.nii.gz'), str(data / 'affine.txt')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('forward.nii.gz: a dense displacement field in ITK convention (mm, LPS), on the fixed')
    assert lines[1].startswith('affine.txt: an affine transform in ITK convention')
    assert main(['--explain', str(data / 'labels.nii.gz'), str(data / 'affine.txt')]) == 2
    captured = capsys.readouterr()
    assert 'is no transform but a label map' in captured.err and captured.out.startswith('affine.txt: an affine')


def test_the_sidecar_of_a_saved_transform_can_be_read_by_a_person(data, tmp_path):
    arguments = ['--transform', str(data / 'affine.txt'), '--save-transform', str(tmp_path / 'a.nii.gz')]
    assert main(arguments) == 0
    assert json.loads((tmp_path / 'a.json').read_text())['settings'] == {'composed_of': ['affine, affine.txt']}
    assert read_sidecar(tmp_path / 'a.nii.gz').fixed.grid.shape == FIXED.shape


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


def test_images_that_cannot_be_read_are_found_before_the_transform(data, tmp_path, capsys):
    (tmp_path / 'bad.nii.gz').write_text('no image')
    error = fails(capsys, '--transform', tmp_path / 'absent.txt', '--image', tmp_path / 'bad.nii.gz', '--out', tmp_path)
    assert 'bad.nii.gz cannot be read' in error
