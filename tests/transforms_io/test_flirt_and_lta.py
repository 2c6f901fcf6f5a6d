"""Matrices of FSL beside fslpy, and those of FreeSurfer beside the geometry that nibabel knows."""

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms_io.explain import explain
from autofuse_jax.transforms_io.files import read_transform
from tests.transforms.examples import PAIRS, affine, image, inner_points, record
from tests.transforms_io.foreign import write_lta, write_matrix


def named(fixed, moving):
    return {'fixed': record(fixed, 'fixed.nii.gz'), 'moving': record(moving, 'moving.nii.gz')}


@pytest.mark.parametrize('name', PAIRS)
def test_fslpy_makes_the_matrix_that_is_read(tmp_path, name):
    pytest.importorskip('fsl.transform.flirt')
    from fsl.data.image import Image
    from fsl.transform.flirt import toFlirt

    fixed, moving = PAIRS[name]
    for role, on in (('fixed', fixed), ('moving', moving)):
        write_image(tmp_path / f'{role}.nii.gz', image(on), on.affine)
    source, reference = (Image(str(tmp_path / f'{role}.nii.gz')) for role in ('moving', 'fixed'))
    # FSL goes from the moving to the fixed image.
    matrix = toFlirt(np.linalg.inv(affine().matrix), source, reference, 'world', 'world')
    read, info = read_transform(write_matrix(tmp_path / 'flirt.mat', matrix), **named(fixed, moving))
    assert (info.kind, info.convention) == ('affine', 'fsl')
    # Headers hold affines as float32.
    np.testing.assert_allclose(
        read.map_points(inner_points(fixed)), affine().map_points(inner_points(fixed)), atol=1e-4
    )


def test_a_matrix_of_flirt_worked_by_hand(tmp_path):
    # Both images 2 mm, x flipped: FSL's x is (n - 1 - i) 2 mm. A push by 3 mm of FSL's x is 3 mm to the left in RAS,
    # and the way from fixed to moving 3 mm to the right.
    on = ImageGrid((5, 6, 7), np.diag([2.0, 2, 2, 1]))
    matrix = np.eye(4)
    matrix[0, 3] = 3
    read, _ = read_transform(write_matrix(tmp_path / 'flirt.mat', matrix), **named(on, on))
    np.testing.assert_allclose(read.map_points(np.zeros(3)), [3, 0, 0], atol=1e-12)


def test_a_matrix_in_another_file_needs_its_convention_named(tmp_path):
    fixed, moving = PAIRS['isotropic']
    path = write_matrix(tmp_path / 'xfm.txt', np.eye(4))
    with pytest.raises(UserError, match='--convention fsl for a matrix of FLIRT'):
        read_transform(path)
    assert read_transform(path, 'fsl', **named(fixed, moving))[1].convention == 'fsl'


def test_bad_matrices(tmp_path):
    fixed, moving = PAIRS['isotropic']
    with pytest.raises(UserError, match='without the fixed image.*--fixed FILE'):
        read_transform(write_matrix(tmp_path / 'a.mat', np.eye(4)))
    with pytest.raises(UserError, match='singular'):
        read_transform(write_matrix(tmp_path / 'a.mat', np.diag([1.0, 1, 0, 1])), **named(fixed, moving))
    with pytest.raises(UserError, match='no matrix of FLIRT'):
        read_transform(write_matrix(tmp_path / 'a.mat', np.diag([1.0, 1, 1, 2])), **named(fixed, moving))
    for text in ('1 2 3\n', '1,5 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n'):
        (tmp_path / 'a.mat').write_text(text)
        with pytest.raises(UserError, match='is a text file, but no matrix of 4 x 4 numbers.*commas'):
            read_transform(tmp_path / 'a.mat')
    (tmp_path / 'a.mat').write_bytes(bytes(range(100)))
    with pytest.raises(UserError, match='no MATLAB file of version 4'):
        read_transform(tmp_path / 'a.mat')
    assert 'to use it, name its images with --fixed and --moving' in explain(
        write_matrix(tmp_path / 'a.mat', np.eye(4))
    )
    assert 'the file holds the way back' in explain(tmp_path / 'a.mat', **named(fixed, moving))


@pytest.mark.parametrize('name', PAIRS)
@pytest.mark.parametrize('kind', [0, 1])
def test_lta_files_go_from_source_to_destination(tmp_path, name, kind):
    fixed, moving = PAIRS[name]
    matrix = np.linalg.inv(affine().matrix)
    if kind == 0:
        matrix = np.linalg.inv(fixed.affine) @ matrix @ moving.affine
    read, info = read_transform(write_lta(tmp_path / 'a.lta', matrix, kind, moving, fixed))
    np.testing.assert_allclose(read.matrix, affine().matrix, atol=1e-9)
    assert (info.fixed.file, info.moving.file, info.convention) == ('fixed.mgz', 'moving.mgz', 'lta')
    assert info.fixed.grid.same_as(fixed) and info.moving.grid.same_as(moving)
    text = explain(tmp_path / 'a.lta')
    assert 'an affine transform in FreeSurfer convention (mm, RAS), that pulls moving.mgz onto fixed.mgz' in text


def test_the_geometry_of_an_lta_file_is_that_of_mgz(tmp_path):
    # What the header of an MGZ file says in FreeSurfer's terms, put into an .lta as it is.
    fixed = PAIRS['oblique'][0]
    header = nib.MGHImage(np.zeros(fixed.shape, np.float32), fixed.affine).header
    facts = {'volume': header['dims'][:3], 'voxelsize': header['delta'], 'cras': header['Pxyz_c']}
    facts |= dict(zip(('xras', 'yras', 'zras'), np.asarray(header['Mdc']), strict=True))
    lines = ['type = 1', 'nxforms = 1', '1 4 4', '1 0 0 5', '0 1 0 0', '0 0 1 0', '0 0 0 1']
    for title in ('src', 'dst'):
        lines += [f'{title} volume info', 'valid = 1', 'filename = x.mgz']
        lines += [f'{key} = {" ".join(map(str, values))}' for key, values in facts.items()]
    (tmp_path / 'a.lta').write_text('\n'.join(lines))
    read, info = read_transform(tmp_path / 'a.lta')
    assert info.fixed.grid.misfit_mm(header.get_affine()) < 1e-4
    np.testing.assert_allclose(read.matrix[:3, 3], [-5, 0, 0])


def test_another_image_than_the_file_names_is_refused_in_the_name_of_the_file(tmp_path):
    fixed, moving = PAIRS['isotropic']
    path = write_lta(tmp_path / 'a.lta', np.eye(4), 1, moving, fixed)
    with pytest.raises(UserError, match='a.lta says that the fixed image is fixed.mgz.*--fixed'):
        read_transform(path, fixed=record(moving, 'other.nii.gz'))


def test_bad_lta_files(tmp_path):
    fixed, moving = PAIRS['isotropic']
    path, unit = tmp_path / 'a.lta', np.eye(4)
    with pytest.raises(UserError, match='is of type 14.*lta_convert'):
        read_transform(write_lta(path, unit, 14, moving, fixed))
    with pytest.raises(UserError, match='holds 2 transforms'):
        read_transform(write_lta(path, unit, 1, moving, fixed, count=2))
    with pytest.raises(UserError, match='does not know its images.*lta_convert.*--src MOVING --trg FIXED'):
        read_transform(write_lta(path, unit, 0, moving, fixed, valid=0))
    assert read_transform(write_lta(path, unit, 1, moving, fixed, valid=0))[1].fixed is None
    with pytest.raises(UserError, match='singular'):
        read_transform(write_lta(path, 0 * unit, 1, moving, fixed))
    with pytest.raises(UserError, match='is in lta convention, not itk'):
        read_transform(write_lta(path, unit, 1, moving, fixed), 'itk')
    path.write_text('1 0 0 0\n0 1 0 0\n')
    with pytest.raises(UserError, match='no linear transform of FreeSurfer'):
        read_transform(path)
