import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms_io.itk_text import read_itk_text, write_itk_text
from tests.transforms.examples import affine, turned

POINTS = np.random.default_rng(0).normal(size=(6, 3)) * 40
FLIP = np.array([-1.0, -1.0, 1.0])
HEADER = '#Insight Transform File V1.0\n#Transform 0\n'


def write(path, kind, parameters, fixed='0 0 0'):
    path.write_text(f'{HEADER}Transform: {kind}\nParameters: {parameters}\nFixedParameters: {fixed}\n')
    return path


def test_what_is_written_is_read_bit_by_bit(tmp_path):
    matrix = affine().matrix
    write_itk_text(tmp_path / 'a.txt', AffineTransform(matrix))
    np.testing.assert_array_equal(read_itk_text(tmp_path / 'a.txt').matrix, matrix)


def test_a_shift_worked_by_hand(tmp_path):
    # 1 mm to the left, 2 mm to the back, 3 mm up in LPS is (-1, -2, 3) in RAS.
    path = write(tmp_path / 'a.tfm', 'AffineTransform_double_3_3', '1 0 0 0 1 0 0 0 1 1 2 3', '5 6 7')
    np.testing.assert_allclose(read_itk_text(path).map_points(np.zeros(3)), [-1, -2, 3])


def test_a_quarter_turn_about_a_centre_worked_by_hand(tmp_path):
    # In LPS (x, y) -> (-y, x) about (10, 0, 0): the point (12, 0, 0) goes to (10, 2, 0); in RAS (-12, 0) to (-10, -2).
    path = write(tmp_path / 'a.txt', 'MatrixOffsetTransformBase_float_3_3', '0 -1 0 1 0 0 0 0 1 0 0 0', '10 0 0')
    np.testing.assert_allclose(read_itk_text(path).map_points(np.array([-12.0, 0, 0])), [-10, -2, 0], atol=1e-12)


def by_itk(sitk):
    versor = sitk.VersorRigid3DTransform()
    versor.SetParameters((0.1, -0.2, 0.15, 3, -4, 5))
    versor.SetCenter((1, 2, 3))
    similar = sitk.Similarity3DTransform()
    similar.SetParameters((0.1, -0.2, 0.15, 3, -4, 5, 1.3))
    similar.SetCenter((1, 2, 3))
    euler = sitk.Euler3DTransform((1, 2, 3), 0.3, -0.2, 0.5, (4, 5, 6))
    other_order = sitk.Euler3DTransform((1, 2, 3), 0.3, -0.2, 0.5, (4, 5, 6))
    other_order.SetComputeZYX(True)
    general = sitk.AffineTransform((1.1, 0.1, 0, -0.2, 0.9, 0, 0.05, 0, 1.2), (3, 4, 5), (-7, 8, 9))
    shift = sitk.TranslationTransform(3, (1, -2, 3))
    joined = sitk.CompositeTransform([general, euler, shift])
    return {
        'versor': versor,
        'similarity': similar,
        'euler': euler,
        'euler, other order': other_order,
        'affine': general,
        'shift': shift,
        'composite': joined,
    }


@pytest.mark.parametrize(
    'name', ['versor', 'similarity', 'euler', 'euler, other order', 'affine', 'shift', 'composite']
)
def test_transforms_of_itk_are_read_as_itk_means_them(tmp_path, name):
    sitk = pytest.importorskip('SimpleITK')
    transform = by_itk(sitk)[name]
    sitk.WriteTransform(transform, str(tmp_path / 'a.tfm'))
    found = read_itk_text(tmp_path / 'a.tfm').map_points(POINTS)
    expected = np.array([transform.TransformPoint(point) for point in (POINTS * FLIP).tolist()]) * FLIP
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_rotation_of_180_degrees_is_kept(tmp_path):
    write_itk_text(tmp_path / 'a.txt', AffineTransform(turned(180, 2)))
    np.testing.assert_allclose(read_itk_text(tmp_path / 'a.txt').matrix, turned(180, 2), atol=1e-15)


@pytest.mark.parametrize(
    ('kind', 'parameters', 'message'),
    [
        ('AffineTransform_double_3_3', '1 0 0 0 1 0 0 0 0 0 0 0', 'singular'),
        ('AffineTransform_double_3_3', '1 0 0 0 1 0 0 0 1 0 nan 0', 'has the parameter nan. Expected: finite'),
        ('AffineTransform_double_3_3', '1 0 0 0 1 0 0 0 1', 'has 9 parameters.*12'),
        ('AffineTransform_double_2_2', '1 0 0 1 0 0', 'has 6 parameters.*12 for 3-D'),
        ('AffineTransform_double_3_3', '1 0 zero', 'line 4.*zero.*numbers'),
        ('BSplineTransform_double_3_3', '1 2 3', 'holds a BSplineTransform.*AffineTransform'),
        ('VersorRigid3DTransform_double_3_3', '0.9 0.9 0 0 0 0', 'longer than 1'),
    ],
)
def test_bad_content(tmp_path, kind, parameters, message):
    with pytest.raises(UserError, match=message):
        read_itk_text(write(tmp_path / 'a.txt', kind, parameters))


@pytest.mark.parametrize('fixed', ['', '10 0'])
def test_a_file_that_lost_its_centre_is_refused(tmp_path, fixed):
    turn = '0 -1 0 1 0 0 0 0 1 0 0 0'
    with pytest.raises(UserError, match=f'has {len(fixed.split())} fixed parameters.*centre of rotation'):
        read_itk_text(write(tmp_path / 'a.txt', 'AffineTransform_double_3_3', turn, fixed))
    # Its last line is missing.
    text = (tmp_path / 'a.txt').read_text().split('Fixed')[0]
    (tmp_path / 'a.txt').write_text(text)
    with pytest.raises(UserError, match='has 0 fixed parameters'):
        read_itk_text(tmp_path / 'a.txt')


def test_blanks_before_a_colon(tmp_path):
    path = write(tmp_path / 'a.txt', 'AffineTransform_double_3_3', '0 -1 0 1 0 0 0 0 1 0 0 0', '10 0 0')
    path.write_text(path.read_text().replace(':', ' :'))
    np.testing.assert_allclose(read_itk_text(path).map_points(np.array([-12.0, 0, 0])), [-10, -2, 0], atol=1e-12)


def test_bad_files(tmp_path):
    with pytest.raises(UserError, match='there is no file'):
        read_itk_text(tmp_path / 'absent.txt')
    with pytest.raises(UserError, match='is a folder'):
        read_itk_text(tmp_path)
    (tmp_path / 'flirt.txt').write_text('1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n')
    with pytest.raises(UserError, match='flirt.txt is no transform file of ITK.*--convention fsl.*c3d_affine_tool'):
        read_itk_text(tmp_path / 'flirt.txt')
    (tmp_path / 'empty.txt').write_text('')
    with pytest.raises(UserError, match='is no transform file of ITK'):
        read_itk_text(tmp_path / 'empty.txt')
    (tmp_path / 'none.txt').write_text(HEADER)
    with pytest.raises(UserError, match='holds no transform'):
        read_itk_text(tmp_path / 'none.txt')
    (tmp_path / 'binary.txt').write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match='is no transform file of ITK'):
        read_itk_text(tmp_path / 'binary.txt')
    one = 'Transform: TranslationTransform_double_3_3\nParameters: 1 2 3\n'
    (tmp_path / 'two.txt').write_text(HEADER + one + one)
    with pytest.raises(UserError, match='holds 2 transforms'):
        read_itk_text(tmp_path / 'two.txt')


def test_a_singular_affine_is_not_written(tmp_path):
    with pytest.raises(UserError, match='singular'):
        write_itk_text(tmp_path / 'a.txt', AffineTransform(np.diag([1.0, 1, 0, 1])))
    assert list(tmp_path.iterdir()) == []
