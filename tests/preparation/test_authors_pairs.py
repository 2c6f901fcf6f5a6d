import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.authors_pairs import find_npz_with_pairs, read_pairs
from tests.preparation.brain_trees import make_authors


@pytest.mark.parametrize('dtype', ['S', 'U'])
def test_splits_and_pairs_of_the_lists(tmp_path, dtype):
    found = find_npz_with_pairs(make_authors(tmp_path, dtype))
    assert {brain.id: brain.split for brain in found.brains} == {
        'brain_1': 'test',
        'brain_2': 'test',
        'brain_3': 'validation',
        'brain_4': 'validation',
        'brain_5': 'train',
    }
    # (fixed, moving), as the lists have them.
    assert found.pairs == (('brain_1', 'brain_2'), ('brain_2', 'brain_1'), ('brain_3', 'brain_4'))
    assert found.prepared and all(brain.labels_file() == brain.image for brain in found.brains)


def test_training_pairs_are_not_kept_and_folders_in_names_do_not_matter(tmp_path):
    root = make_authors(tmp_path)
    np.save(root / 'train_pairs.npy', np.array([['data/brain_5.npz', 'C:\\data\\brain_5.npz']]))
    found = find_npz_with_pairs(root)
    assert len(found.pairs) == 3 and found.brains[4].split == 'train'


def test_hidden_files_and_folders_are_left_out(tmp_path):
    root = make_authors(tmp_path)
    expected = find_npz_with_pairs(root)
    (root / '._val_pairs.npy').write_bytes(b'Mac OS X')
    make_authors(root / '.snapshot')
    assert find_npz_with_pairs(root) == expected


def test_two_files_of_one_name_are_refused(tmp_path):
    root = make_authors(tmp_path)
    make_authors(root / 'test')
    with pytest.raises(UserError, match='two images of the name brain_1'):
        find_npz_with_pairs(root)


def test_without_lists_it_is_another_layout(tmp_path):
    np.savez(tmp_path / 'a.npz', vol=np.zeros((2, 2, 2)))
    assert find_npz_with_pairs(tmp_path) is None


def test_python_objects_are_refused_and_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / 'sprung'), 'w'))

    path = tmp_path / 'test_pairs.npy'
    np.save(path, np.array([[Trap(), 'b']], object), allow_pickle=True)
    with pytest.raises(UserError, match='holds Python objects') as raised:
        read_pairs(path)
    assert 'astype(str)' in str(raised.value) and not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize(
    ('array', 'found'),
    [
        (np.array(['a', 'b']), r'<U1 \(2,\)'),
        (np.array([['a', 'b', 'c']]), r'<U1 \(1, 3\)'),
        (np.zeros((3, 2)), r'float64 \(3, 2\)'),
    ],
)
def test_other_arrays(tmp_path, array, found):
    np.save(tmp_path / 'pairs.npy', array)
    with pytest.raises(UserError, match=found) as raised:
        read_pairs(tmp_path / 'pairs.npy')
    assert '(N, 2)' in str(raised.value)


def test_damaged_list(tmp_path):
    (tmp_path / 'pairs.npy').write_bytes(b'\x93NUMPY\x01\x00v')
    with pytest.raises(UserError, match='cannot be read'):
        read_pairs(tmp_path / 'pairs.npy')


def test_damaged_header_and_names_of_another_encoding(tmp_path):
    path = tmp_path / 'test_pairs.npy'
    np.save(path, np.array([['ä.npz', 'b.npz']]))
    path.write_bytes(path.read_bytes().replace(b"{'descr'", b'(((((((('))
    with pytest.raises(UserError, match='cannot be read'):
        read_pairs(path)
    np.save(path, np.char.encode([['ä.npz', 'b.npz']], 'latin-1'))
    with pytest.raises(UserError, match='no UTF-8'):
        read_pairs(path)


def test_lists_that_do_not_fit_the_data(tmp_path):
    root = make_authors(tmp_path)
    np.save(root / 'train_pairs.npy', np.array([['brain_1', 'brain_5']]))
    with pytest.raises(UserError, match='brain_1 is in test_pairs.npy and in train_pairs.npy'):
        find_npz_with_pairs(root)
    np.save(root / 'train_pairs.npy', np.array([['brain_9', 'brain_5']]))
    with pytest.raises(UserError, match='names brain_9'):
        find_npz_with_pairs(root)
