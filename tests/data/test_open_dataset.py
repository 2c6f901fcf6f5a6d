import pytest

from autofuse_jax.data.open_dataset import open_dataset
from autofuse_jax.errors import UserError
from tests.data.hand_made import manifest_of, subject, write_data_set

PHANTOM = {'train': 1, 'validation': 0, 'test': 0, 'frames': 2, 'shape': (16, 16, 8)}


def test_prepared_data_is_read(tmp_path):
    manifest = write_data_set(manifest_of(subject('a', 'ED+ ES+'), root=tmp_path))
    assert open_dataset('prepared', tmp_path, {}) == manifest
    assert open_dataset('prepared', str(tmp_path), {}) == manifest


def test_phantom_is_made_and_found_again(tmp_path):
    made = open_dataset('phantom', tmp_path / 'phantom', PHANTOM)
    assert made.dataset == 'phantom' and made.shape == (16, 16, 8)
    assert [entry.split for entry in made.subjects] == ['train']
    written = made.root / made.subjects[0].frames[0].file
    before = written.stat().st_mtime_ns
    assert open_dataset('phantom', tmp_path / 'phantom', PHANTOM) == made
    assert written.stat().st_mtime_ns == before


def test_phantom_does_not_overwrite_other_data(tmp_path):
    manifest = write_data_set(manifest_of(subject('a', 'ED+ ES+'), root=tmp_path))
    with pytest.raises(UserError, match='holds another data set: hand_made'):
        open_dataset('phantom', tmp_path, PHANTOM)
    assert open_dataset('prepared', tmp_path, {}) == manifest


@pytest.mark.parametrize('source', ['prepared', 'phantom'])
def test_empty_root(source):
    with pytest.raises(UserError, match='data.root is empty') as raised:
        open_dataset(source, '', {})
    assert '--config.data.root=FOLDER' in str(raised.value)


def test_unknown_source(tmp_path):
    with pytest.raises(UserError, match="data.source is 'web'.*one of prepared, phantom"):
        open_dataset('web', tmp_path, {})


def test_folder_without_prepared_data(tmp_path):
    with pytest.raises(UserError, match='no manifest.json') as raised:
        open_dataset('prepared', tmp_path, {})
    assert 'correct data.root' in str(raised.value)
