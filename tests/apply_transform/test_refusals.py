"""What is refused, and that nothing is written then: calls, files and transforms with something wrong or missing."""

import dataclasses

import numpy as np

from autofuse_jax.apply_transform import main
from autofuse_jax.data.volumes import write_image
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.files import write_transform
from tests.apply_transform.calls import FIXED, INFO, MOVING, fails, moved, positions, sample
from tests.transforms.examples import affine, both, grid, image, inner_points, record


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
    assert '--inverse is given together with --explain' in fails(capsys, '--explain', forward, '--inverse')
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


def test_images_that_cannot_be_read_are_found_before_the_transform(data, tmp_path, capsys):
    (tmp_path / 'bad.nii.gz').write_text('no image')
    error = fails(capsys, '--transform', tmp_path / 'absent.txt', '--image', tmp_path / 'bad.nii.gz', '--out', tmp_path)
    assert 'bad.nii.gz cannot be read' in error
