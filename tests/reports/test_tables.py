"""Files of an evaluation and the table for the terminal."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.files import json_types
from autofuse_jax.reports.tables import console_table, write_records

CLASSES = {0: 'background', 1: 'right ventricle', 2: 'myocardium'}
RECORDS = [
    {
        'pair': 'patient001_ED_to_ES',
        'subject': 'patient001',
        'fixed_frame': 'ES',
        'moving_frame': 'ED',
        'dsc_before': np.float32(0.5),
        'dsc_after': 0.75,
        'dsc_before_per_label': {1: 0.5, 2: math.nan},
        'dsc_after_per_label': {1: 0.75, 2: math.nan},
        'njd_percent': 0.0,
        'seconds': 8.0,
    },
    {
        'pair': 'patient001_ES_to_ED',
        'subject': 'patient001',
        'fixed_frame': 'ED',
        'moving_frame': 'ES',
        'dsc_before': 0.5,
        'dsc_after': math.nan,
        'dsc_before_per_label': {1: 0.5, 2: 0.5},
        'dsc_after_per_label': {1: math.nan, 2: math.nan},
        'njd_percent': 0.5,
        'seconds': 0.25,
        'gate_means': {'gate_2': np.float32(0.5)},
    },
]


def test_csv_has_a_column_per_structure_and_gate(tmp_path):
    write_records(tmp_path / 'run', RECORDS, CLASSES, {})
    with (tmp_path / 'run' / 'pairs.csv').open(newline='', encoding='utf-8') as file:
        first, second = csv.DictReader(file)
    assert first['pair'] == 'patient001_ED_to_ES'
    assert float(first['dsc_after_right_ventricle']) == 0.75
    assert first['dsc_after_myocardium'] == second['dsc_after'] == ''
    assert first['gate_2'] == '' and second['gate_2'] == '0.5'
    assert not any('background' in column for column in first)


def test_json_is_strict_and_writes_nan_as_null(tmp_path):
    write_records(tmp_path, RECORDS, CLASSES, {'checkpoint': Path('run/best')})

    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    content = json.loads((tmp_path / 'pairs.json').read_text(encoding='utf-8'), parse_constant=refuse)
    assert content['header'] == {'checkpoint': str(Path('run/best'))}
    assert content['classes'] == {'0': 'background', '1': 'right ventricle', '2': 'myocardium'}
    assert content['pairs'][0]['dsc_after_per_label'] == {'1': 0.75, '2': None}
    assert content['summary']['dsc_after'] == {'mean': 0.75, 'deviation': None, 'count': 1}


def test_summary_path_is_returned_and_nothing_else_is_left(tmp_path):
    path = write_records(tmp_path, RECORDS, CLASSES, {'title': 'Run'})
    assert path == tmp_path / 'summary.md'
    assert path.read_text(encoding='utf-8').startswith('# Run\n')
    assert sorted(item.name for item in tmp_path.iterdir()) == ['pairs.csv', 'pairs.json', 'summary.md']


def test_writing_again_replaces(tmp_path):
    write_records(tmp_path, RECORDS, CLASSES, {})
    write_records(tmp_path, RECORDS[:1], CLASSES, {})
    assert len((tmp_path / 'pairs.csv').read_text(encoding='utf-8').splitlines()) == 2


@pytest.mark.parametrize('write', [lambda folder: write_records(folder, [], {}, {}), lambda _: console_table([], {})])
def test_no_records_is_an_error_with_advice(tmp_path, write):
    with pytest.raises(UserError, match='no pairs to report.*split of the manifest'):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_console_table_lines_up():
    lines = console_table(RECORDS, CLASSES).splitlines()
    assert lines[:4] == [
        'DSC %                before  after',
        'right ventricle  50.0 ± 0.0   75.0',
        'myocardium             50.0      –',
        'mean             50.0 ± 0.0   75.0',
    ]
    # NJD 0 and 0.5: mean 0.25, deviation 0.5 / sqrt(2).
    assert lines[5] == 'NJD 0.250 ± 0.354 %   SDlogJ –'
    assert lines[6] == '2 pairs, 0.250 s each, first pair 8.000 s (may include compilation)'


def test_console_table_of_one_pair_with_segmentation():
    record = {**RECORDS[0], 'segmentation_dsc_per_label': {1: 0.875, 2: 0.5}}
    lines = console_table([record], CLASSES).splitlines()
    assert lines[0].split() == ['DSC', '%', 'before', 'after', 'segmentation']
    assert lines[1].split() == ['right', 'ventricle', '50.0', '75.0', '87.5']
    assert lines[-1] == '1 pair, first pair 8.000 s (may include compilation)'


def test_plain_turns_numpy_into_json_types():
    value = {1: np.int64(3), 'a': (np.float32(0.5), math.inf), 'b': np.array([1.0, math.nan])}
    assert json_types(value) == {'1': 3, 'a': [0.5, None], 'b': [1.0, None]}
