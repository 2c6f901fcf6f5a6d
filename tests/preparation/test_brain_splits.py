import json
from pathlib import Path

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_splits import split_brains
from autofuse_jax.preparation.found_brains import FoundBrain, FoundBrains


def found(count, split=None):
    brains = tuple(FoundBrain(f's{number:03d}', Path(f's{number:03d}.nii'), None, split) for number in range(count))
    return FoundBrains('test layout', brains)


def counts(split_of):
    return {split: list(split_of.values()).count(split) for split in ('train', 'validation', 'test')}


def test_oasis_gives_the_numbers_of_the_paper(tmp_path):
    split_of, rule = split_brains(found(414), 'oasis', 'oasis', tmp_path, None)
    assert counts(split_of) == {'train': 314, 'validation': 20, 'test': 80}
    assert '314 train' in rule and 'seed' in rule
    assert split_of == split_brains(found(414), 'oasis', 'oasis', tmp_path, None)[0]
    # The draw is no prefix of the ids.
    assert {split_of[f's{number:03d}'] for number in range(40)} == {'train', 'validation', 'test'}


def test_another_number_of_oasis_subjects_is_split_in_proportion(tmp_path):
    split_of, _ = split_brains(found(207), 'oasis', 'oasis', tmp_path, None)
    assert counts(split_of) == {'train': 157, 'validation': 10, 'test': 40}


@pytest.mark.parametrize(
    ('dataset', 'split'),
    [('mindboggle', 'test'), ('buckner', 'test'), ('ixi', 'train'), ('adni', 'train'), ('abide', 'train')],
)
def test_data_sets_of_one_split(tmp_path, dataset, split):
    assert set(split_brains(found(7), dataset, dataset, tmp_path, None)[0].values()) == {split}


@pytest.mark.parametrize(('count', 'validation'), [(5, 0), (6, 2), (30, 3), (31, 4)])
def test_folder_keeps_a_tenth_for_validation(tmp_path, count, validation):
    split_of, rule = split_brains(found(count), 'folder', 'mine', tmp_path, None)
    assert counts(split_of) == {'train': count - validation, 'validation': validation, 'test': 0}
    assert ('all train' in rule) == (validation == 0)


@pytest.mark.parametrize('dataset', ['folder', 'oasis'])
def test_all_sessions_of_a_person_go_into_one_split(tmp_path, dataset):
    names = [f'sub-{person:02d}_ses-{session}_T1w' for person in range(20) for session in (1, 2)]
    source = FoundBrains('test layout', tuple(FoundBrain(name, Path(name), None, None) for name in names))
    split_of, _ = split_brains(source, dataset, dataset, tmp_path, None)
    assert sorted(split_of) == names
    assert all(split_of[name] == split_of[name.replace('ses-1', 'ses-2')] for name in names)
    assert 0 < counts(split_of)['validation'] < 20


def test_what_the_layout_says_counts_more_than_the_rule(tmp_path):
    split_of, rule = split_brains(found(3, 'test'), 'folder', 'mine', tmp_path, None)
    assert counts(split_of)['test'] == 3 and 'test layout' in rule


def test_files_beside_the_data(tmp_path):
    root = tmp_path / 'mine'
    root.mkdir()
    above, inside = tmp_path / 'splits.json', root / 'splits.json'
    # Above the data only splits under its name count: others may be those of a neighbour.
    above.write_text(json.dumps({'train': ['s000'], 'test': ['s001']}))
    assert 'drawn' in split_brains(found(9), 'folder', 'mine', root, None)[1]
    above.write_text(json.dumps({'mine': {'train': ['s000'], 'test': ['s001']}, 'acdc': {'train': ['p']}}))
    assert split_brains(found(9), 'folder', 'mine', root, None)[0] == {'s000': 'train', 's001': 'test'}
    inside.write_text(json.dumps({'validation': ['s002']}))
    assert split_brains(found(9), 'folder', 'mine', root, None)[0] == {'s002': 'validation'}
    # A named file counts most.
    assert split_brains(found(9), 'folder', 'mine', root, above)[0] == {'s000': 'train', 's001': 'test'}


def test_unusable_file_is_told(tmp_path):
    (tmp_path / 'splits.json').write_text('{')
    with pytest.raises(UserError, match='splits.json cannot be read'):
        split_brains(found(9), 'folder', 'mine', tmp_path, None)
    (tmp_path / 'splits.json').unlink()
    with pytest.raises(UserError, match='cannot be read'):
        split_brains(found(9), 'folder', 'mine', tmp_path, tmp_path / 'none.json')
