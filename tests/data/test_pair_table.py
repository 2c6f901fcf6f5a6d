"""Tables of pairs: columns, names, paths, and all that can be wrong with them in one message."""

import pytest

from autofuse_jax.data.pair_table import read_pair_table
from autofuse_jax.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ('a/image.nii.gz', 'a/seg.nii.gz', 'b/image.nii.gz', 'c.nii'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def table(folder, text, encoding='utf-8'):
    path = folder / 'pairs.csv'
    path.write_text(text, encoding=encoding)
    return path


def test_paths_are_relative_to_the_table_and_empty_cells_are_left_out(folder):
    path = table(
        folder, 'Fixed,moving,fixed labels,age\na/image.nii.gz,c.nii,a/seg.nii.gz,3\n\nb/image.nii.gz,c.nii,,\n'
    )
    first, second = read_pair_table(path)
    assert first.files == {
        'fixed': folder / 'a/image.nii.gz',
        'moving': folder / 'c.nii',
        'fixed_labels': folder / 'a/seg.nii.gz',
    }
    assert second.files == {'fixed': folder / 'b/image.nii.gz', 'moving': folder / 'c.nii'}
    assert (first.line, second.line) == (2, 4)


def test_pairs_are_called_after_their_files_and_as_many_folders_as_it_takes(folder):
    path = table(folder, 'fixed,moving\na/image.nii.gz,c.nii\nc.nii,a/image.nii.gz\n')
    assert [row.name for row in read_pair_table(path)] == ['c_to_image', 'image_to_c']
    path = table(folder, 'fixed,moving,name\na/image.nii.gz,c.nii,\nb/image.nii.gz,c.nii,\nc.nii,c.nii,mine\n')
    here = folder.name
    names = [row.name for row in read_pair_table(path)]
    assert names == [f'{here}-c_to_a-image', f'{here}-c_to_b-image', 'mine']


@pytest.mark.parametrize('delimiter', [';', '\t'])
def test_other_delimiters_and_the_mark_of_spreadsheets_are_understood(folder, delimiter):
    lines = ['fixed,moving,name', 'c.nii,a/image.nii.gz,one']
    path = table(folder, '\r\n'.join(lines).replace(',', delimiter), encoding='utf-8-sig')
    assert [row.name for row in read_pair_table(path)] == ['one']


def test_empty_columns_behind_the_table_are_left_out(folder):
    path = table(folder, 'fixed,moving,,\nc.nii,a/image.nii.gz,,\n')
    assert [set(row.files) for row in read_pair_table(path)] == [{'fixed', 'moving'}]


def test_everything_that_is_wrong_is_in_one_message(folder):
    (folder / 'd.nii').mkdir()
    path = table(
        folder,
        'fixed,moving_lables,name\nnone.nii,a/seg.nii.gz,x/y\nd.nii,c.nii,same\nc.nii,c.nii,Same,4\n',
    )
    with pytest.raises(UserError) as error:
        read_pair_table(path)
    message = str(error.value)
    for words in (
        'has 7 problems',
        'the column moving is missing',
        'the column moving_lables is unknown (perhaps moving_labels)',
        f'line 2: fixed {folder}/none.nii is not there',
        "line 2: 'x/y' cannot be the name of a folder",
        f'line 3: fixed {folder}/d.nii is a folder',
        'line 4: 4 cells, and the header has 3',
        'line 4: the name Same is that of line 3',
    ):
        assert words in message, (words, message)


def test_what_a_folder_cannot_be_called_is_replaced_in_names_after_files(folder):
    for name in ("O'Neil, a&b.nii", '.hidden.nii', 'scan (1).nii', 'scan [1].nii', 'SCAN -1-.nii'):
        (folder / name).touch()
    one, hidden = 'fixed,moving\n', 'c.nii,.hidden.nii\n'
    path = table(folder, one + '"O\'Neil, a&b.nii",c.nii\n' + hidden + 'c.nii,scan (1).nii\n')
    assert [row.name for row in read_pair_table(path)] == ['c_to_O_Neil_ a_b', 'hidden_to_c', 'scan _1__to_c']
    rows = ('c.nii,scan (1).nii\n', 'c.nii,scan [1].nii\n')
    names = [row.name for row in read_pair_table(table(folder, one + ''.join(rows)))]
    assert len(set(names)) == 2 and all(name.startswith('scan _1__to_c-') for name in names)
    # The same pair has the same name wherever it stands.
    assert [row.name for row in read_pair_table(table(folder, one + ''.join(rows[::-1])))] == names[::-1]


def test_names_that_differ_in_capitals_or_are_too_long_get_a_hash(folder):
    for name in ('A.nii', 'a.nii', 'l' * 250 + '.nii'):
        (folder / name).touch()
    path = table(folder, f'fixed,moving\nc.nii,a.nii\nc.nii,A.nii\nc.nii,{"l" * 250}.nii\nc.nii,c.nii\n')
    first, second, long, plain = (row.name for row in read_pair_table(path))
    assert first.startswith('a_to_c-') and second.startswith('A_to_c-') and first.lower() != second.lower()
    assert long.startswith('l' * 240) and len(long) == 255 and plain == 'c_to_c'


def test_folders_of_dicom_series_are_files_too(folder):
    (folder / 'dicom').mkdir()
    (row,) = read_pair_table(table(folder, 'fixed,moving\nc.nii,dicom\n'))
    assert (row.name, row.files['moving']) == ('dicom_to_c', folder / 'dicom')


def test_what_names_can_be_wrong_is_told_apart(folder):
    path = table(
        folder,
        'fixed,moving,fixed_labels,name\nc.nii,c.nii,,\nc.nii,c.nii,,\nc.nii,c.nii,a/seg.nii.gz,\n'
        'c.nii,a/image.nii.gz,,Summary.html\nc.nii,a/image.nii.gz,,one\nc.nii,c.nii,,one\n',
    )
    with pytest.raises(UserError) as error:
        read_pair_table(path, reserved=['summary.html'])
    message = str(error.value)
    for words in (
        'has 4 problems',
        'line 3: the same pair as in line 2',
        'line 4: the images of line 2, with other labels or masks: name the pairs in the column name',
        "line 5: 'Summary.html' is the name of a file of the results",
        'line 7: the name one is that of line 6',
    ):
        assert words in message, (words, message)


def test_what_else_is_wrong_is_in_the_same_message(folder):
    path = table(folder, 'fixed,moving\nc.nii,none.nii\n')
    with pytest.raises(UserError, match=r'has 2 problems.*\n.*none.nii is not there\n  line 2: it is too green'):
        read_pair_table(path, check=lambda rows: [(row.line, 'it is too green') for row in rows])


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'is empty'),
        ('fixed,moving\n', 'lists no pairs'),
        ('fixed,moving\nc.nii\n', 'line 2: no moving image'),
        ('fixed,moving,fixed\n', 'the column fixed is there 2 times'),
        ('fixed,moving,labels\n', 'the column labels is unknown'),
    ],
)
def test_tables_that_are_none(folder, text, words):
    with pytest.raises(UserError, match=words.replace('(', r'\(')):
        read_pair_table(table(folder, text))


def test_files_that_are_no_tables(folder):
    with pytest.raises(UserError, match='there is no file'):
        read_pair_table(folder / 'none.csv')
    with pytest.raises(UserError, match='is a folder'):
        read_pair_table(folder)
    (folder / 'image.csv').write_bytes(b'\xff\xfe\x00\x81')
    with pytest.raises(UserError, match='no text in UTF-8'):
        read_pair_table(folder / 'image.csv')
