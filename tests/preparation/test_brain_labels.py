import json

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_labels import (
    LABEL_TABLES,
    MERGED_CLASSES,
    freesurfer_table,
    neuromorphometrics_table,
    oasis_table,
    read_label_table,
    table_of_ids,
)


def test_oasis_has_35_structures_and_19_without_sides():
    table = oasis_table()
    assert list(table.names) == list(range(1, 36))
    assert sorted(set(table.class_of.values())) == list(range(1, 20))
    assert table.classes == MERGED_CLASSES and list(table.classes) == list(range(20))
    # Ids as neurite-OASIS lists them.
    known = {1: 'Left-Cerebral-White-Matter', 11: '3rd-Ventricle', 13: 'Brain-Stem', 14: 'Left-Hippocampus'}
    known |= {20: 'Right-Cerebral-White-Matter', 30: 'Right-Hippocampus', 35: 'Right-Choroid-Plexus'}
    assert {label: table.names[label] for label in known} == known


def test_left_and_right_are_one_class_and_nothing_else_is():
    table = oasis_table()
    members = {number: [label for label in table.names if table.class_of[label] == number] for number in range(1, 20)}
    pairs = [ids for ids in members.values() if len(ids) == 2]
    assert len(pairs) == 16 and sorted(map(len, members.values())) == [1] * 3 + [2] * 16
    for left, right in pairs:
        assert table.names[left].replace('Left', 'Right') == table.names[right]


def test_training_labels_keep_the_shape_and_lose_the_sides():
    maps = np.array([[[0, 2], [21, 13]], [[35, 19], [1, 20]]], np.int32)
    found = oasis_table().training_labels(maps)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[[0, 2], [2, 13]], [[19, 19], [1, 1]]])


@pytest.mark.parametrize(
    ('table', 'ids', 'names'),
    [
        # FreeSurfer: left and right cortex, brain stem, a left and a right cortical region, CSF, unknown.
        (freesurfer_table(), [3, 42, 16, 1024, 2024, 24, 9999], ['Cerebral-Cortex'] * 2 + ['Brain-Stem']),
        # Neuromorphometrics: even ids of the cortex are right.
        (neuromorphometrics_table(), [100, 101, 35, 206, 207, 71, 1], ['Cerebral-Cortex'] * 2 + ['Brain-Stem']),
    ],
)
def test_other_conventions_lead_to_the_same_classes(table, ids, names):
    found = [table.classes[int(number)] for number in table.training_labels(np.array(ids))]
    assert found == [*names, 'Cerebral-Cortex', 'Cerebral-Cortex', 'background', 'background']


def test_names_of_original_structures():
    assert freesurfer_table().names[1024] == 'ctx-lh-precentral'
    assert freesurfer_table().names[2001] == 'ctx-rh-bankssts'
    assert len(freesurfer_table('dkt').names) == 62 and 17 not in freesurfer_table('dkt').names
    assert neuromorphometrics_table().names[100] == 'Right anterior cingulate gyrus'
    assert neuromorphometrics_table().names[48] == 'Left-Hippocampus'


def test_tables_agree_with_the_published_map(real_data):
    content = json.loads((real_data / 'labels35_map.json').read_text())
    oasis = oasis_table()
    assert {str(label): name for label, name in oasis.names.items()} == content['names']
    for table, key in (
        (freesurfer_table(), 'freesurfer_aseg_to_35'),
        (neuromorphometrics_table(), 'neuromorphometrics_to_35'),
    ):
        assert {label: oasis.class_of[target] for label, target in _ints(content[key])} == {
            label: table.class_of[label] for label, _ in _ints(content[key])
        }


def _ints(content):
    return [(int(label), target) for label, target in content.items()]


def test_unknown_ids_are_errors_where_the_table_is_complete():
    with pytest.raises(UserError, match=r'labels of s1 hold the unknown ids \[36\]') as raised:
        oasis_table().check(np.array([0, 1, 36]), 's1')
    assert '--label-table' in str(raised.value)
    neuromorphometrics_table().check(np.array([0, 45, 9]), 's1')
    with pytest.raises(UserError, match=r'\[-3\]'):
        neuromorphometrics_table().check(np.array([0, -3]), 's1')


def test_ids_as_they_are():
    table = table_of_ids([7, 0, 3, 200])
    assert table.class_of == {3: 1, 7: 2, 200: 3}
    assert table.classes == {0: 'background', 1: 'label 3', 2: 'label 7', 3: 'label 200'}
    with pytest.raises(UserError, match='256 different ids') as raised:
        table_of_ids(range(1, 257))
    assert '--labels' in str(raised.value) and all(name in str(raised.value) for name in LABEL_TABLES)


def test_table_of_a_file(tmp_path):
    path = tmp_path / 'table.json'
    content = {
        '17': {'name': 'Left-Hippocampus', 'class': 'Hippocampus'},
        '9': 'Vermis',
        '53': {'name': 'Right-Hippocampus', 'class': 'Hippocampus'},
        '24': {'name': 'CSF', 'class': None},
        '0': 'nothing',
    }
    path.write_text(json.dumps(content))
    table = read_label_table(path)
    assert table.classes == {0: 'background', 1: 'Hippocampus', 2: 'Vermis'}
    assert table.class_of == {17: 1, 53: 1, 9: 2}
    assert table.names == {17: 'Left-Hippocampus', 9: 'Vermis', 53: 'Right-Hippocampus', 24: 'CSF'}
    assert table.complete


@pytest.mark.parametrize(
    'text', ['[', '[]', '{}', '{"a": "b"}', '{"1": 2}', '{"1": {"class": "x"}}', '{"1": {"name": "x", "id": 1}}']
)
def test_bad_table_files(tmp_path, text):
    path = tmp_path / 'table.json'
    path.write_text(text)
    with pytest.raises(UserError, match='label table .*table.json') as raised:
        read_label_table(path)
    assert 'Left-Hippocampus' in str(raised.value)


def test_absent_and_overlong_table_files(tmp_path):
    with pytest.raises(UserError, match='cannot be read'):
        read_label_table(tmp_path / 'none.json')
    path = tmp_path / 'table.json'
    path.write_text(json.dumps({str(label): f'name {label}' for label in range(1, 257)}))
    with pytest.raises(UserError, match='256 classes'):
        read_label_table(path)
