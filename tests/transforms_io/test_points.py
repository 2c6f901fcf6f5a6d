import json

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
        ('# x\ty\tz\n1\t2\t3\n4.5\t-5.25\t60\n', False),
        ('# id,z,y,x\n7,3,2,1\n8,60,-5.25,4.5\n', False),
        ('label,R,A,S\n5,1,2,3\n6,4.5,-5.25,60\n', True),
        ('id,x_mm,Y (mm),z [mm]\n9,1,2,3\n8,4.5,-5.25,60\n', True),
        ('name,z,score,x,y\nA,3,9,1,2\nB,60,8,4.5,-5.25\n', True),
        ('i,j,k,name\n1,2,3,"a, b"\n4.5,-5.25,60,c\n', True),
        ('größe,x,y,z\n7,1,2,3\n8,4.5,-5.25,60\n'.encode('utf-16'), True),
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
        ('1,2,3\n1,1e300,3\n', "line 2, column 2: '1e300' is no finite number up to 1e"),
        ('1,2,3\n1,2,inf\n', "line 2, column 3: 'inf'"),
        ('1,2,3\n1,,3\n', "line 2, column 2: ''"),
        ('P1,1,2,3\nP2,4,5,6\n', '4 columns and no header'),
        ('7,1,2,3\n8,4,5,6\n', '4 columns and no header'),
        ('first,second,third\n1,2,3\n', 'columns are named first, second, third.*Expected: coordinates named x, y, z'),
        ('fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n1,2,3,4,5,6\n', 'columns are named fixed_x'),
        ('x,y,z,x,y,z\n1,2,3,4,5,6\n', 'two columns are named x'),
        ('r,a,s,l,p\n1,2,3,-1,-2\n', 'coordinates in mm and mm-lps.*--points-units'),
        ('r,p,i\n1,2,3\n', 'columns are named r, p, i'),
        ('name,x,y,z\nA,1,2,3\nB,1,two,3\n', "line 3, column 3: 'two'"),
        ('1 2 3\n4 5 6\n', 'line 1: 1 columns.*separated by commas'),
        (b'\x00\x01\x02\x03', 'is no text file'),
        (b'\xff\xfe\x00', 'is no text in UTF-16'),
        ('größe,x,y,z\n1,1,2,3\n'.encode('latin-1'), 'is no text in UTF-8 .*a CSV file of points in UTF-8.*CSV UTF-8'),
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


@pytest.mark.parametrize(
    ('header', 'units'),
    [
        ('x,y,z', 'mm'),
        ('l,p,s', 'mm-lps'),
        ('x_lps,y_lps,z_lps', 'mm-lps'),
        ('RAS_X,RAS_Y,RAS_Z', 'mm'),
        ('i,j,k', 'voxel'),
        ('voxel_x,voxel_y,voxel_z', 'voxel'),
    ],
)
def test_names_say_what_coordinates_are_counted_in(tmp_path, header, units):
    path = write(tmp_path, f'{header}\n1,2,3\n')
    assert read_points(path).units == units
    assert read_points(path, units).units == units
    other = 'mm-lps' if units != 'mm-lps' else 'mm'
    if header == 'x,y,z':
        assert read_points(path, other).units == other
        return
    with pytest.raises(UserError, match='points.csv: the columns .*correct --points-units'):
        read_points(path, other)


def test_of_two_sets_the_unit_that_is_asked_for_counts(tmp_path):
    path = write(tmp_path, 'i,j,k,x,y,z\n7,8,9,1,2,3\n')
    assert read_points(path, 'voxel').points.tolist() == [[7, 8, 9]]
    assert read_points(path, 'mm-lps').points.tolist() == [[1, 2, 3]]
    with pytest.raises(UserError, match='coordinates in no unit and voxel'):
        read_points(path)


def test_coordinates_in_other_units_are_left_empty_where_points_move(tmp_path):
    path = write(tmp_path, 'name,x,y,z,x_lps,y_lps,z_lps\nA,1,2,3,-1,-2,3\nB,1,2,3,-4,-5,6\n')
    table = read_points(path, 'mm-lps')
    assert table.columns == (4, 5, 6) and table.others == (1, 2, 3)
    write_points(tmp_path / 'out.csv', table, table.points + 1, np.array([True, True]))
    lines = (tmp_path / 'out.csv').read_text().splitlines()
    assert lines[1] == 'A,,,,0.000000,-1.000000,4.000000,1'
    # Columns that two sets share are those of the one that was chosen.
    table = read_points(write(tmp_path, 'r,a,s,l,p\n1,2,3,-1,-2\n'), 'mm')
    assert table.columns == (0, 1, 2) and table.others == (3, 4)


def test_millimetres_whatever_the_frame(tmp_path):
    np.testing.assert_array_equal(read_points(write(tmp_path, 'l,p,s\n1,2,3\n')).ras_mm, [[-1, -2, 3]])
    np.testing.assert_array_equal(read_points(write(tmp_path, '1,2,3\n')).ras_mm, [[1, 2, 3]])
    with pytest.raises(UserError, match='counts points in voxels'):
        _ = read_points(write(tmp_path, 'i,j,k\n1,2,3\n')).ras_mm


SLICER = """# Markups fiducial file version = 4.11
# CoordinateSystem = {frame}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
vtkMRMLMarkupsFiducialNode_0,1,2,3,0,0,0,1,1,1,0,F-1,,
vtkMRMLMarkupsFiducialNode_1,4.5,-5.25,60,0,0,0,1,1,1,0,F-2,,
"""


@pytest.mark.parametrize(('frame', 'units'), [('LPS', 'mm-lps'), ('RAS', 'mm'), ('0', 'mm'), ('1', 'mm-lps')])
def test_files_of_slicer_say_their_frame_and_keep_their_form(tmp_path, frame, units):
    path = write(tmp_path, SLICER.format(frame=frame), 'points.fcsv')
    table = read_points(path)
    np.testing.assert_array_equal(table.points, POINTS)
    assert table.units == units and table.lines == [4, 5]
    write_points(tmp_path / 'out.fcsv', table, table.points + 1, np.array([True, False]))
    old, new = (file.read_text().splitlines() for file in (path, tmp_path / 'out.fcsv'))
    assert new[:3] == old[:3] and new[3].startswith('vtkMRMLMarkupsFiducialNode_0,2.000000,3.000000,4.000000,0,')
    assert [line.count(',') for line in new[3:]] == [13, 13]
    np.testing.assert_array_equal(read_points(tmp_path / 'out.fcsv').points, POINTS + 1)


def markups(tmp_path, *lists):
    return write(tmp_path, json.dumps({'markups': lists}), 'points.mrk.json')


@pytest.mark.parametrize(('frame', 'units'), [('LPS', 'mm-lps'), ('RAS', 'mm')])
def test_markups_of_slicer_become_a_table_that_says_its_frame(tmp_path, frame, units):
    points = [
        {'label': f'F-{n}', 'position': list(point), 'positionStatus': 'defined'} for n, point in enumerate(POINTS)
    ]
    path = markups(tmp_path, {'coordinateSystem': frame, 'coordinateUnits': 'mm', 'controlPoints': points})
    table = read_points(path)
    np.testing.assert_array_equal(table.points, POINTS)
    assert table.units == units
    write_points(tmp_path / 'out.csv', table, table.points + 1, np.array([True, False]))
    again = read_points(tmp_path / 'out.csv')
    np.testing.assert_array_equal(again.points, POINTS + 1)
    assert again.units == units and [row[0] for row in again.rows] == ['F-0', 'F-1']
    with pytest.raises(UserError, match=f'in {units}, not in voxel'):
        read_points(path, 'voxel')


def test_the_unit_of_markups_may_be_a_code(tmp_path):
    points = [{'position': list(point)} for point in POINTS]
    path = markups(tmp_path, {'coordinateUnits': ['mm', 'UCUM', 'millimeter'], 'controlPoints': points})
    np.testing.assert_array_equal(read_points(path).points, POINTS)


@pytest.mark.parametrize(
    ('lists', 'message'),
    [
        ([], '0 lists of points'),
        ([{'controlPoints': []}], 'a list without points'),
        ([{'controlPoints': [{'position': [1, 2, 3]}]}] * 2, '2 lists of points'),
        ([{'coordinateSystem': 'IJK', 'controlPoints': [{'position': [1, 2, 3]}]}], 'are IJK in mm'),
        ([{'coordinateUnits': 'um', 'controlPoints': [{'position': [1, 2, 3]}]}], 'LPS in um'),
        ([{'controlPoints': [{'position': [1, 2]}]}], 'holds no points'),
        ([{'controlPoints': [{'position': [1, 2, 3], 'positionStatus': 'undefined'}]}], 'point 1 of .* has no place'),
    ],
)
def test_markups_that_cannot_be_used(tmp_path, lists, message):
    with pytest.raises(UserError, match=message):
        read_points(markups(tmp_path, *lists))


def test_frames_that_are_not_known_or_not_asked_for_are_refused(tmp_path):
    with pytest.raises(UserError, match="coordinate system is 'XYZ'"):
        read_points(write(tmp_path, SLICER.format(frame='XYZ'), 'points.fcsv'))
    with pytest.raises(UserError, match='in mm-lps, not in mm'):
        read_points(write(tmp_path, SLICER.format(frame='LPS'), 'points.fcsv'), 'mm')
