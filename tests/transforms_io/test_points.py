import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms_io.points import read_points, write_points

POINTS = np.array([[1, 2, 3], [4.5, -5.25, 6e1]])


def write(tmp_path, text, name='points.csv'):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ('text', 'header'),
    [
        ('1,2,3\n4.5,-5.25,6e1\n', False),
        ('x,y,z\n1,2,3\n4.5,-5.25,60\n', True),
        ('\ufeffX, Y, Z\r\n1,2,3\r\n4.5,-5.25,60\r\n', True),
        ('1;2;3\n\n4.5;-5.25;60\n\n', False),
        ('first\tsecond\tthird\n1\t2\t3\n4.5\t-5.25\t60\n', True),
        ('name,z,score,x,y\nA,3,9,1,2\nB,60,8,4.5,-5.25\n', True),
        ('i,j,k,name\n1,2,3,"a, b"\n4.5,-5.25,60,c\n', True),
    ],
)
def test_kinds_of_files(tmp_path, text, header):
    table = read_points(write(tmp_path, text))
    np.testing.assert_array_equal(table.points, POINTS)
    assert (table.header is not None) == header


def test_other_columns_stay_and_inside_comes_last(tmp_path):
    table = read_points(write(tmp_path, 'name,z,score,x,y\n"A, left",3,9,1,2\nB,60,0.10,4.5,-5.25\n'))
    write_points(tmp_path / 'out.csv', table, table.points + 0.5, np.array([True, False]))
    assert (tmp_path / 'out.csv').read_text() == (
        'name,z,score,x,y,inside\n"A, left",3.500000,9,1.500000,2.500000,1\nB,60.500000,0.10,5.000000,-4.750000,0\n'
    )
    # What was written is read, and a column `inside` that is there already is used again.
    again = read_points(tmp_path / 'out.csv')
    np.testing.assert_array_equal(again.points, POINTS + 0.5)
    write_points(tmp_path / 'again.csv', again, again.points, np.array([False, True]))
    assert [line.split(',')[-1] for line in (tmp_path / 'again.csv').read_text().splitlines()] == ['inside', '0', '1']


def test_a_file_without_header_keeps_its_columns(tmp_path):
    table = read_points(write(tmp_path, '1;2;3\n4.5;-5.25;60\n'))
    write_points(tmp_path / 'out.csv', table, -table.points * [0, 1, 1], np.array([True, False]))
    assert (tmp_path / 'out.csv').read_text() == '0.000000;-2.000000;-3.000000\n0.000000;5.250000;-60.000000\n'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is empty'),
        ('\n \n', 'is empty'),
        ('x,y,z\n', 'a header and no points'),
        ('x,y,z\n1,2,3\n\n1,2\n', 'line 4: 2 columns.*columns 1, 2, 3'),
        ('1,2,3\n1,nan,3\n', "line 2, column 2: 'nan' is no finite number"),
        ('1,2,3\n1,2,inf\n', "line 2, column 3: 'inf'"),
        ('1,2,3\n1,,3\n', "line 2, column 2: ''"),
        ('P1,1,2,3\nP2,4,5,6\n', "line 1, column 1: 'P1' is no finite number.*columns are named x, y, z"),
        ('name,x,y,z\nA,1,2,3\nB,1,two,3\n', "line 3, column 3: 'two'"),
        ('1 2 3\n4 5 6\n', 'line 2: 1 columns.*separated by commas'),
        (b'\xff\xfe\x00\x01', 'is no text file'),
    ],
)
def test_bad_content_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_points(write(tmp_path, text))
    assert 'points.csv' in str(error.value)


def test_bad_files(tmp_path):
    with pytest.raises(UserError, match='there is no file'):
        read_points(tmp_path / 'absent.csv')
    with pytest.raises(UserError, match='is a folder'):
        read_points(tmp_path)
