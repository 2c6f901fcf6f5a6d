import json

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.learn2reg_dataset import find_learn2reg
from tests.preparation.brain_trees import make_learn2reg


def test_images_labels_splits_and_pairs(tmp_path):
    found = find_learn2reg(make_learn2reg(tmp_path))
    splits = {brain.id: brain.split for brain in found.brains}
    names = [f'OASIS_{number:04d}_0000' for number in (1, 2, 3, 4)]
    assert splits == dict(zip(names, ['train', 'validation', 'validation', 'train'], strict=True))
    assert found.pairs == ((names[1], names[2]),)
    # Only the first names its label map; the others are found beside it, and the fourth has none.
    assert [brain.labels and brain.labels.parent.name for brain in found.brains] == ['labelsTr'] * 3 + [None]
    assert not found.prepared


def test_lists_by_modality_and_absent_files(tmp_path):
    root = make_learn2reg(tmp_path)
    path = root / 'OASIS_dataset.json'
    content = json.loads(path.read_text())
    content['training'] = {'0': content['training'], '1': [{'image': './imagesTr/lost.nii.gz'}]}
    path.write_text(json.dumps(content))
    found = find_learn2reg(root)
    assert len(found.brains) == 4
    assert [(problem.subject, 'does not exist' in problem.reason) for problem in found.problems] == [('lost', True)]


def test_hidden_files_are_no_descriptions(tmp_path):
    root = make_learn2reg(tmp_path)
    expected = find_learn2reg(root)
    (root / '._dataset.json').write_bytes(b'Mac OS X')
    assert find_learn2reg(root) == expected


def test_without_a_file_it_is_another_layout(tmp_path):
    assert find_learn2reg(tmp_path) is None


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{', 'expected form: it is no JSON'),
        ('[]', 'expected form'),
        ('{"training": [{"label": "a"}]}', 'expected form'),
    ],
)
def test_bad_files(tmp_path, text, words):
    (tmp_path / 'dataset.json').write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        find_learn2reg(tmp_path)
    assert 'registration_val' in str(raised.value)


def test_several_files(tmp_path):
    for name in ('dataset.json', 'OASIS_dataset.json'):
        (tmp_path / name).write_text('{}')
    with pytest.raises(UserError, match='several data set files'):
        find_learn2reg(tmp_path)


def test_images_listed_without_the_number_of_their_channel(tmp_path):
    for name in ('imagesTr/h_1_0000.nii.gz', 'labelsTr/h_1.nii.gz'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / 'dataset.json').write_text(
        '{"training": [{"image": "./imagesTr/h_1.nii.gz", "label": "./labelsTr/h_1.nii.gz"}]}'
    )
    (brain,) = find_learn2reg(tmp_path).brains
    assert (brain.id, brain.image.name, brain.labels.name) == ('h_1', 'h_1_0000.nii.gz', 'h_1.nii.gz')
