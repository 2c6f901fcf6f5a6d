import json

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.acdc import find_acdc, read_info
from tests.preparation.acdc_trees import labels, make_flat, make_official, save


def split_names(source):
    return {subject.id: subject.split for subject in source.subjects}


def test_official_tree(tmp_path):
    source = find_acdc(make_official(tmp_path, training=3, testing=2))
    assert [subject.id for subject in source.subjects] == [
        *('patient001', 'patient002', 'patient003', 'patient101', 'patient102')
    ]
    splits = split_names(source)
    assert sorted(splits.values()) == ['test', 'test', 'train', 'train', 'validation']
    assert splits['patient101'] == splits['patient102'] == 'test'
    validation = next(name for name, split in splits.items() if split == 'validation')
    assert validation in source.split_rule and '2018' in source.split_rule
    subject = source.subjects[0]
    assert subject.group == 'HCM' and subject.series.name == 'patient001_4d.nii.gz'
    assert [(frame.index, frame.phase, frame.position) for frame in subject.frames] == [(1, 'ED', 0), (3, 'ES', 2)]
    assert [frame.labels.name for frame in subject.frames] == [
        *('patient001_frame01_gt.nii.gz', 'patient001_frame03_gt.nii.gz')
    ]
    assert not source.problems and source.unused == 0
    assert source.classes == {0: 'background', 1: 'right ventricle cavity', 2: 'myocardium', 3: 'left ventricle cavity'}


def test_folder_above_database_gives_the_same(tmp_path):
    make_official(tmp_path / 'database')
    assert find_acdc(tmp_path) == find_acdc(tmp_path / 'database')


def test_a_patient_in_both_parts_is_refused(tmp_path):
    make_official(tmp_path, training=2, testing=1)
    (tmp_path / 'training' / 'patient001').rename(tmp_path / 'training' / 'patient101')
    with pytest.raises(UserError, match='patient101 is in training/ and in testing/'):
        find_acdc(tmp_path)


def test_official_tree_with_own_splits(tmp_path):
    make_official(tmp_path, training=3, testing=1)
    # A patient that is in no split is not looked at, so what is wrong with it does not matter.
    (tmp_path / 'training' / 'patient002' / 'Info.cfg').unlink()
    splits = tmp_path / 'mine.json'
    splits.write_text(json.dumps({'train': ['patient101', 'patient003'], 'test': ['patient001', 'patient999']}))
    source = find_acdc(tmp_path, splits)
    assert split_names(source) == {'patient001': 'test', 'patient003': 'train', 'patient101': 'train'}
    assert source.unused == 1
    assert [(problem.subject, 'not in the source' in problem.reason) for problem in source.problems] == [
        ('patient999', True)
    ]
    assert source.split_rule == 'listed in mine.json'


def test_official_tree_lists_every_bad_patient(tmp_path):
    make_official(tmp_path, training=4, testing=0)
    training = tmp_path / 'training'
    (training / 'patient001' / 'Info.cfg').unlink()
    (training / 'patient002' / 'patient002_4d.nii.gz').unlink()
    (training / 'patient003' / 'patient003_frame03_gt.nii.gz').unlink()
    source = find_acdc(tmp_path)
    assert list(split_names(source)) == ['patient004']
    reasons = {problem.subject: problem.reason for problem in source.problems}
    assert 'Info.cfg' in reasons['patient001']
    assert 'patient002_4d.nii.gz' in reasons['patient002']
    assert 'patient003_frame03_gt.nii.gz' in reasons['patient003']


def test_uncompressed_files_are_found(tmp_path):
    make_flat(tmp_path, names=('patient001',), splits=False)
    (tmp_path / 'splits.json').write_text(json.dumps({'train': ['patient001']}))
    (tmp_path / 'patient001' / 'seg_ED.nii.gz').unlink()
    save(tmp_path / 'patient001' / 'seg_ED.nii', labels(0))
    assert find_acdc(tmp_path).subjects[0].frames[0].labels.name == 'seg_ED.nii'


@pytest.mark.parametrize('place', ['inside', 'above', 'named'])
def test_flat_layout(tmp_path, place):
    root = make_flat(tmp_path / 'acdc')
    where = {'inside': root / 'splits.json', 'above': tmp_path / 'splits.json', 'named': tmp_path / 'my_splits.json'}
    (root / 'splits.json').rename(where[place])
    source = find_acdc(root, where[place] if place == 'named' else None)
    assert split_names(source) == {'patient001': 'train', 'patient002': 'train', 'patient003': 'validation'}
    subject = source.subjects[1]
    assert subject.group == 'HCM' and subject.series is None
    assert [(frame.index, frame.phase, frame.image.name) for frame in subject.frames] == [
        (1, 'ED', 'image_ED.nii.gz'),
        (7, 'ES', 'image_ES.nii.gz'),
    ]


def test_byte_order_marks_are_no_part_of_names(tmp_path):
    flat, official = make_flat(tmp_path / 'flat'), make_official(tmp_path / 'official', training=1, testing=0)
    for path in (flat / 'cases.csv', official / 'training' / 'patient001' / 'Info.cfg'):
        path.write_text(path.read_text(), encoding='utf-8-sig')
    assert len(find_acdc(flat).subjects) == 3 and len(find_acdc(official).subjects) == 1


def test_flat_layout_needs_splits(tmp_path):
    with pytest.raises(UserError, match='no splits.json.*--splits FILE'):
        find_acdc(make_flat(tmp_path / 'acdc', splits=False))


def test_flat_layout_lists_every_bad_patient(tmp_path):
    make_flat(tmp_path)
    (tmp_path / 'patient001' / 'image_ES.nii.gz').unlink()
    table = tmp_path / 'cases.csv'
    table.write_text(table.read_text().replace('patient002,HCM,ES,7', 'patient002,HCM,ES,1'))
    source = find_acdc(tmp_path)
    assert list(split_names(source)) == ['patient003']
    reasons = {problem.subject: problem.reason for problem in source.problems}
    assert 'image_ES.nii.gz' in reasons['patient001'] and 'share frame 1' in reasons['patient002']
    table.write_text(table.read_text().replace('patient002,HCM,ES,1', 'patient002,HCM,ES,seven'))
    assert "'seven'" in find_acdc(tmp_path).problems[1].reason
    table.write_text(table.read_text().replace('patient002,HCM,ES,seven\n', ''))
    assert 'has only ED' in find_acdc(tmp_path).problems[1].reason


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'lacks rows or columns'),
        ('patient,phase\npatient001,ED\n', 'the columns patient, group, phase, frame'),
        ('patient,group,phase,frame\npatient001,DCM,MD,3\n', "phase 'MD' for patient001"),
        ('patient,group,phase,frame\np,DCM,ED,3\np,DCM,ED,4\n', "second phase 'ED' for p"),
        ('patient,group,phase,frame\np,DCM,ED,3\np,DCM\n', 'lacks rows or columns'),
        (b'\xff\xfe\x00', 'cannot be read'),
    ],
)
def test_unusable_table(tmp_path, text, message):
    make_flat(tmp_path)
    (tmp_path / 'cases.csv').write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        find_acdc(tmp_path)


def test_a_frame_number_of_thousands_of_digits_leaves_its_patient_out(tmp_path):
    make_flat(tmp_path)
    table = tmp_path / 'cases.csv'
    table.write_bytes(table.read_bytes().replace(b'patient001,DCM,ED,1', b'patient001,DCM,ED,' + b'9' * 5000))
    (problem,) = find_acdc(tmp_path).problems
    assert problem.subject == 'patient001' and 'a number from 1 on' in problem.reason


def test_folder_of_another_kind_names_both_layouts(tmp_path):
    with pytest.raises(UserError, match=r'no ACDC folder.*Info\.cfg.*cases\.csv.*--source'):
        find_acdc(tmp_path)
    with pytest.raises(UserError, match='there is no folder'):
        find_acdc(tmp_path / 'nowhere')
    (tmp_path / 'training').mkdir()
    with pytest.raises(UserError, match='holds no patient folders'):
        find_acdc(tmp_path)


def test_info(tmp_path):
    path = tmp_path / 'Info.cfg'
    path.write_text('ED: 1\r\nES: 12 \r\nGroup: DCM\r\n\r\nHeight: 184.0\r\n')
    assert read_info(path) == {'ED': '1', 'ES': '12', 'Group': 'DCM', 'Height': '184.0'}


@pytest.mark.parametrize('text', ['ED: 1\n', 'ED: 1\nES: x\n', 'ED: 0\nES: 3\n', '', 'ED 1\nES 3\n'])
def test_info_without_frame_numbers(tmp_path, text):
    (tmp_path / 'Info.cfg').write_text(text)
    with pytest.raises(UserError, match='no frame number for E'):
        read_info(tmp_path / 'Info.cfg')
