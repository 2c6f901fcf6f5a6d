"""ITK's kinds of transforms in its three kinds of files, each beside SimpleITK."""

import struct

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.itk_kinds import entries_of, entry, transform_of
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import PAIRS, affine, grid, inner_points, record, smooth, turned
from tests.transforms_io.foreign import write_matlab

FIXED, MOVING = PAIRS['oblique']
INFO = TransformInfo(fixed=record(FIXED, 'fixed.nii.gz'), moving=record(MOVING, 'moving.nii.gz'))
POINTS = inner_points(FIXED)
FLIP = np.array([-1.0, -1.0, 1.0])
VERSOR = (0.1, -0.2, 0.15, 3, -4, 5)


def moved_by_itk(transform, points):
    return np.array([transform.TransformPoint(point) for point in (points * FLIP).tolist()]) * FLIP


@pytest.mark.parametrize('digits', [6, 17])
def test_half_turns_about_any_axis_whatever_the_digits_of_their_versor(tmp_path, digits):
    sitk = pytest.importorskip('SimpleITK')
    for axis in np.random.default_rng(0).normal(size=(20, 3)):
        versor = ' '.join(f'{value:.{digits}g}' for value in axis / np.linalg.norm(axis))
        lines = ['#Insight Transform File V1.0', '#Transform 0', 'Transform: VersorRigid3DTransform_double_3_3']
        lines += [f'Parameters: {versor} 1 2 3', 'FixedParameters: 4 5 6', '']
        (tmp_path / 'a.tfm').write_text('\n'.join(lines))
        transform, _ = read_transform(tmp_path / 'a.tfm')
        its = moved_by_itk(sitk.ReadTransform(str(tmp_path / 'a.tfm')), POINTS)
        np.testing.assert_allclose(transform.map_points(POINTS), its, atol=0.01)
    with pytest.raises(UserError, match='longer than 1'):
        transform_of('a.tfm', [entry('VersorTransform', (0.8, 0.6, 0.1), (0, 0, 0))])


def linear_of(sitk, name):
    """One transform of each linear class that SimpleITK has, about a centre, with nothing that is 0 or 1."""
    kinds = {
        'AffineTransform': (1.1, 0.1, 0.02, -0.2, 0.9, 0.03, 0.05, 0.01, 1.2, 3, 4, 5),
        'Euler3DTransform': (0.3, -0.2, 0.5, 4, 5, 6),
        'VersorTransform': VERSOR[:3],
        'VersorRigid3DTransform': VERSOR,
        'Similarity3DTransform': (*VERSOR, 1.3),
        'ScaleVersor3DTransform': (*VERSOR, 1.1, 0.9, 1.3),
        'ScaleSkewVersor3DTransform': (*VERSOR, 1.1, 0.9, 1.3, 0.02, 0.03, -0.04, 0.05, -0.06, 0.07),
        'ComposeScaleSkewVersor3DTransform': (*VERSOR, 1.1, 0.9, 1.3, 0.02, 0.03, -0.04),
        'ScaleTransform': (1.1, 0.9, 1.3),
    }
    if name == 'Identity':
        return sitk.Transform(3, sitk.sitkIdentity)
    if name == 'TranslationTransform':
        return sitk.TranslationTransform(3, (1, -2, 3))
    transform = getattr(sitk, name)(*([3] if name in ('AffineTransform', 'ScaleTransform') else []))
    transform.SetParameters(kinds[name])
    transform.SetCenter((1, 2, 3))
    return transform


LINEAR = [
    'AffineTransform',
    'Euler3DTransform',
    'VersorTransform',
    'VersorRigid3DTransform',
    'Similarity3DTransform',
    'ScaleVersor3DTransform',
    'ScaleSkewVersor3DTransform',
    'ComposeScaleSkewVersor3DTransform',
    'ScaleTransform',
    'TranslationTransform',
    'Identity',
]


@pytest.mark.parametrize('suffix', ['.tfm', '.h5', '.mat'])
@pytest.mark.parametrize('name', LINEAR)
def test_every_linear_kind_in_every_file(tmp_path, name, suffix):
    sitk = pytest.importorskip('SimpleITK')
    if suffix == '.h5':
        pytest.importorskip('h5py')
    transform = linear_of(sitk, name)
    sitk.WriteTransform(transform, str(tmp_path / f'a{suffix}'))
    read, info = read_transform(tmp_path / f'a{suffix}')
    assert (info.kind, info.convention) == ('affine', 'itk')
    np.testing.assert_allclose(read.map_points(POINTS), moved_by_itk(transform, POINTS), atol=1e-9)


def test_kinds_that_simpleitk_has_not_worked_by_hand():
    # A quarter turn about z as a quaternion (x, y, z, w), in LPS (x, y) -> (-y, x), about (10, 0, 0).
    half = np.sqrt(0.5)
    turn = transform_of('a', [entry('QuaternionRigidTransform_double_3_3', [0, 0, half, half, 0, 0, 1], [10, 0, 0])])
    np.testing.assert_allclose(turn.map_points(np.array([-12.0, 0, 0])), [-10, -2, 1], atol=1e-12)
    numbers = [0, -1, 0, 1, 0, 0, 0, 0, 1, 10, 0, 0, 0, 0, 1]
    same = transform_of('a', [entry('CenteredAffineTransform_double_3_3', numbers, [])])
    np.testing.assert_allclose(same.matrix, turn.matrix, atol=1e-12)


def test_the_affine_of_ants_is_read(tmp_path):
    numbers = [1.02, 0.03, 0, -0.02, 0.98, 0.01, 0, 0, 1.01, 2, -3, 1.5]
    path = write_matlab(tmp_path / '0GenericAffine.mat', 'AffineTransform_double_3_3', numbers, [-15, -20, 18])
    (tmp_path / 'a.tfm').write_text(
        '#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n'
        f'Parameters: {" ".join(map(str, numbers))}\nFixedParameters: -15 -20 18\n'
    )
    np.testing.assert_allclose(read_transform(path)[0].matrix, read_transform(tmp_path / 'a.tfm')[0].matrix, atol=1e-12)


def composite_of_itk(sitk):
    """A turn, then a field on an oblique grid, as a point passes through them: as ANTs' Composite.h5 has them."""
    numbers = smooth(FIXED).displacement.astype(np.float64) @ FIXED.affine[:3, :3].T * FLIP
    field = sitk.GetImageFromArray(np.moveaxis(numbers, (0, 1, 2), (2, 1, 0)), isVector=True)
    field.SetSpacing(FIXED.spacing)
    field.SetDirection((FLIP[:, None] * FIXED.affine[:3, :3] / FIXED.spacing).ravel())
    field.SetOrigin(FLIP * FIXED.affine[:3, 3])
    return sitk.CompositeTransform(
        [
            linear_of(sitk, 'AffineTransform'),
            linear_of(sitk, 'Euler3DTransform'),
            sitk.DisplacementFieldTransform(field),
        ]
    )


def test_a_chain_in_a_chain_is_written_part_by_part():
    inner = Chain((affine(), smooth(FIXED)))
    parts = entries_of('a.h5', Chain((inner, affine())))
    assert [part.kind for part in parts] == [
        'CompositeTransform',
        'AffineTransform',
        'DisplacementFieldTransform',
        'AffineTransform',
    ]
    points = inner_points(FIXED)
    found = transform_of('a.h5', parts).map_points(points)
    np.testing.assert_allclose(found, Chain((inner, affine())).map_points(points), atol=1e-4)


def test_inverse_fields_of_slicer_are_no_fields():
    grid_numbers = [2, 2, 2, 0, 0, 0, 1, 1, 1, *np.eye(3).ravel()]
    kinds = (f'{word}DisplacementFieldTransform_double_3_3' for word in ('', 'Inverse'))
    parts = [entry(kind, np.ones(24), grid_numbers) for kind in kinds]
    assert isinstance(transform_of('a.h5', parts[:1]), DenseTransform)
    for entries in (parts[1:], [entry('CompositeTransform_double_3_3', (), ()), *parts]):
        with pytest.raises(UserError, match='holds an InverseDisplacementFieldTransform.*convert it in 3D Slicer'):
            transform_of('a.h5', entries)


@pytest.mark.parametrize('suffix', ['.h5', '.tfm'])
def test_a_composite_with_a_field_is_read(tmp_path, suffix):
    sitk = pytest.importorskip('SimpleITK')
    pytest.importorskip('h5py')
    composite = composite_of_itk(sitk)
    sitk.WriteTransform(composite, str(tmp_path / f'Composite{suffix}'))
    if suffix == '.tfm':
        # The text writer refuses nothing; our affine reader must not stop at fields.
        assert 'DisplacementFieldTransform' in (tmp_path / 'Composite.tfm').read_text()
    read, info = read_transform(tmp_path / f'Composite{suffix}')
    assert info.kind == 'composite' and [type(part) for part in read.transforms] == [AffineTransform, DenseTransform]
    assert read.transforms[1].grid.same_as(FIXED)
    np.testing.assert_allclose(read.map_points(POINTS), moved_by_itk(composite, POINTS), atol=1e-4)


@pytest.mark.parametrize('name', ['chain', 'affine', 'dense'])
def test_simpleitk_reads_what_is_written(tmp_path, name):
    sitk = pytest.importorskip('SimpleITK')
    pytest.importorskip('h5py')
    transform = {'chain': Chain((affine(), smooth(FIXED))), 'affine': affine(), 'dense': smooth(FIXED)}[name]
    write_transform(tmp_path / 'a.h5', transform, 'itk', INFO)
    theirs = sitk.ReadTransform(str(tmp_path / 'a.h5'))
    np.testing.assert_allclose(moved_by_itk(theirs, POINTS), transform.map_points(POINTS), atol=1e-4)
    again, info = read_transform(tmp_path / 'a.h5')
    assert info.fixed.file == 'fixed.nii.gz' and type(again) is type(transform)
    np.testing.assert_allclose(again.map_points(POINTS), transform.map_points(POINTS), atol=1e-5)
    assert theirs.GetName() == {'chain': 'CompositeTransform', 'affine': 'AffineTransform'}.get(
        name, 'DisplacementFieldTransform'
    )


def hdf5(path, entries, group='TransformGroup'):
    h5py = pytest.importorskip('h5py')
    with h5py.File(path, 'w') as file:
        for number, (name, *values) in enumerate(entries):
            place = file.create_group(f'{group}/{number}')
            place['TransformType'] = [name]
            # Spelt as files before ITK 5 have it.
            place['TranformParameters'], place['TranformFixedParameters'] = values
    return path


def test_the_spelling_of_old_files(tmp_path):
    path = hdf5(tmp_path / 'a.h5', [('TranslationTransform_float_3_3', [1.0, 2, 3], [])])
    np.testing.assert_allclose(read_transform(path)[0].matrix[:3, 3], [-1, -2, 3])


def test_bad_hdf5_files(tmp_path):
    pytest.importorskip('h5py')
    (tmp_path / 'text.h5').write_text('nothing')
    with pytest.raises(UserError, match='text.h5 cannot be read'):
        read_transform(tmp_path / 'text.h5')
    with pytest.raises(UserError, match='HDF5 file of something else .weights.'):
        read_transform(hdf5(tmp_path / 'other.h5', [('a', [1.0], [1.0])], group='weights'))
    with pytest.raises(UserError, match='holds a BSplineTransform'):
        read_transform(hdf5(tmp_path / 'spline.h5', [('BSplineTransform_double_3_3', [1.0], [1.0])]))
    with pytest.raises(UserError, match='singular'):
        read_transform(hdf5(tmp_path / 'zero.h5', [('AffineTransform_double_3_3', np.zeros(12), np.zeros(3))]))
    with pytest.raises(UserError, match='three for each voxel'):
        read_transform(hdf5(tmp_path / 'f.h5', [('DisplacementFieldTransform_double_3_3', [1.0], np.ones(18))]))
    with pytest.raises(UserError, match='holds 2 transforms'):
        read_transform(hdf5(tmp_path / 'two.h5', 2 * [('TranslationTransform_double_3_3', [1.0, 2, 3], [])]))
    sheared = grid((5, 6, 7), (2, 2, 2)).affine.copy()
    sheared[0, 1] = 0.7
    with pytest.raises(UserError, match='not at right angles'):
        field = DenseTransform(np.zeros((5, 6, 7, 3), np.float32), sheared)
        write_transform(tmp_path / 'sheared.h5', field, 'itk', TransformInfo())
    assert not (tmp_path / 'sheared.h5').exists()


def test_without_h5py_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'h5py', None)
    (tmp_path / 'a.h5').touch()
    with pytest.raises(UserError, match=r"needs the package h5py.*pip install 'autofuse_jax\[hdf5\]'"):
        read_transform(tmp_path / 'a.h5')
    with pytest.raises(UserError, match='needs the package h5py'):
        write_transform(tmp_path / 'b.h5', AffineTransform(turned(3, 1)), 'itk', INFO)


def test_bad_matlab_files(tmp_path):
    path = write_matlab(tmp_path / 'a.mat', 'AffineTransform_double_3_3', np.zeros(12), np.zeros(3))
    with pytest.raises(UserError, match='singular'):
        read_transform(path)
    with pytest.raises(UserError, match='has 9 parameters.*12 for 3-D'):
        read_transform(write_matlab(tmp_path / 'b.mat', 'AffineTransform_double_3_3', np.ones(9), np.zeros(3)))
    # A bit of its header makes text of the numbers.
    (tmp_path / 't.mat').write_bytes(struct.pack('<i', 1) + path.read_bytes()[4:])
    with pytest.raises(UserError, match='holds a matrix of .*real numbers'):
        read_transform(tmp_path / 't.mat')
    with pytest.raises(UserError, match='holds the matrices M'):
        read_transform(write_matlab(tmp_path / 'c.mat', 'M', np.ones(16), np.zeros(3)))
    # Of two of a kind, SciPy returns the last one.
    (tmp_path / 'two.mat').write_bytes(2 * path.read_bytes())
    with pytest.raises(UserError, match='two.mat holds the matrices AffineTransform_double_3_3, AffineTransform_doub'):
        read_transform(tmp_path / 'two.mat')
    with pytest.raises(UserError, match='was a CompositeTransform.*save it as .h5'):
        read_transform(write_matlab(tmp_path / 'd.mat', 'CompositeTransform_double_3_3', np.ones(18), np.zeros(6)))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match='a.mat is no MATLAB file of version 4'):
        read_transform(path)
    path.write_bytes(b'MATLAB 5.0 MAT-file' + bytes(200))
    with pytest.raises(UserError, match='MATLAB file of version 5'):
        read_transform(path)
