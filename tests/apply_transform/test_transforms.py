"""Transforms: inverted, joined, saved in each convention, of other programs, explained."""

import importlib.util
import json

import numpy as np
import pytest

from autofuse_jax.apply_transform import main
from autofuse_jax.data.volumes import write_image
from autofuse_jax.transforms.grids import grid_points, to_voxels
from autofuse_jax.transforms.inversion import invert_points
from autofuse_jax.transforms.maps import Chain
from autofuse_jax.transforms.resampling import moving_positions
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.fsl import fsl_frame
from autofuse_jax.transforms_io.sidecar import TransformInfo, read_sidecar
from tests.apply_transform.calls import FIXED, INFO, MOVING, POINTS, fails, moved, positions, read_csv, run, sample
from tests.transforms.examples import PAIRS, affine, both, image, inner_points, record, smooth
from tests.transforms_io.foreign import write_lta, write_matlab, write_matrix


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
    assert 'affine, flirt.mat, taken for a matrix of FLIRT, pulls moving.nii.gz onto fixed.nii.gz' in text
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
