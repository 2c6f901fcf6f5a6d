"""Files of an evaluated run and the table for the terminal."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.files import json_types
from autofuse_jax.reports.summary import RunContent
from autofuse_jax.reports.tables import console_table, write_tables

CLASSES = {1: 'right ventricle', 2: 'rest | other'}
DEFAULT = PROTOCOLS['default'].as_record()
RECORDS = [
    {
        'pair': 'patient001_ED_to_ES',
        'subject': 'patient001',
        'fixed_frame': 'ES',
        'moving_frame': 'ED',
        'first_call': True,
        'dsc_before': np.float32(0.5),
        'dsc_after': 0.75,
        'hd95_mm_before': 4.0,
        'hd95_mm_after': 2.0,
        'dsc_before_per_label': {1: 0.5, 2: math.nan},
        'dsc_after_per_label': {1: 0.75, 2: math.nan},
        'hd95_mm_before_per_label': {1: 4.0, 2: math.nan},
        'hd95_mm_after_per_label': {1: 2.0, 2: math.nan},
        'njd_percent': 0.0,
        'seconds': 8.0,
    },
    {
        'pair': 'patient001_ES_to_ED',
        'subject': 'patient001',
        'fixed_frame': 'ED',
        'moving_frame': 'ES',
        'first_call': False,
        'dsc_before': 0.5,
        'dsc_after': math.nan,
        'dsc_before_per_label': {1: 0.5, 2: 0.5},
        'dsc_after_per_label': {1: math.nan, 2: math.nan},
        'njd_percent': 0.5,
        'seconds': 0.25,
        'gate_means': {'gate_2': np.float32(0.5)},
    },
]


def content_of(records=RECORDS, **facts):
    return RunContent(records, CLASSES, 'Run', facts, DEFAULT, ['A note.'])


def rows_of(path):
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_csv_of_pairs_has_numbers_and_gates(tmp_path):
    write_tables(tmp_path / 'run', content_of())
    first, second = rows_of(tmp_path / 'run' / 'pairs.csv')
    assert first['pair'] == 'patient001_ED_to_ES' and first['first_call'] == 'True'
    assert float(first['dsc_after']) == 0.75 and second['dsc_after'] == ''
    assert first['hd95_mm_after'] == '2.0' and second['hd95_mm_after'] == ''
    assert first['gate_2'] == '' and second['gate_2'] == '0.5'
    assert not any('per_label' in column for column in first)


def test_csv_of_structures_has_a_line_for_each_of_each_pair(tmp_path):
    write_tables(tmp_path, content_of())
    rows = rows_of(tmp_path / 'structures.csv')
    assert [(row['pair'], row['label'], row['structure']) for row in rows] == [
        ('patient001_ED_to_ES', '1', 'right ventricle'),
        ('patient001_ED_to_ES', '2', 'rest | other'),
        ('patient001_ES_to_ED', '1', 'right ventricle'),
        ('patient001_ES_to_ED', '2', 'rest | other'),
    ]
    assert (rows[0]['dsc_before'], rows[0]['hd95_mm_after'], rows[1]['dsc_after']) == ('0.5', '2.0', '')
    assert list(rows[0])[3:] == ['dsc_before', 'dsc_after', 'hd95_mm_before', 'hd95_mm_after']


def test_json_is_strict_and_holds_the_protocol(tmp_path):
    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    write_tables(tmp_path, content_of(checkpoint=Path('run/best')))
    content = json.loads((tmp_path / 'pairs.json').read_text(encoding='utf-8'), parse_constant=refuse)
    assert content['header'] == {'title': 'Run', 'checkpoint': str(Path('run/best'))}
    assert content['classes'] == {'1': 'right ventricle', '2': 'rest | other'}
    assert content['protocol'] == DEFAULT and content['notes'] == ['A note.']
    assert content['pairs'][0]['dsc_after_per_label'] == {'1': 0.75, '2': None}
    expected = {'mean': 0.75, 'deviation': None, 'count': 1, 'median': 0.75, 'p30': 0.75}
    assert content['summary']['dsc_after'] == expected
    assert content['summary']['structures']['right ventricle']['dsc_before']['mean'] == 0.5


def test_paths_are_returned_and_nothing_else_is_left(tmp_path):
    paths = write_tables(tmp_path, content_of())
    assert sorted(path.name for path in paths) == sorted(item.name for item in tmp_path.iterdir())
    assert {path.name for path in paths} == {'pairs.csv', 'structures.csv', 'pairs.json', 'summary.md', 'summary.tex'}


def test_writing_again_replaces(tmp_path):
    write_tables(tmp_path, content_of())
    write_tables(tmp_path, content_of(RECORDS[:1]))
    assert len((tmp_path / 'pairs.csv').read_text(encoding='utf-8').splitlines()) == 2


def test_no_records_is_an_error_with_advice():
    with pytest.raises(UserError, match='no pairs to report.*split of the manifest'):
        content_of([])


def test_console_table_lines_up():
    lines = console_table(content_of()).splitlines()
    assert lines[:4] == [
        'DSC %                before  after',
        'right ventricle  50.0 ± 0.0   75.0',
        'rest | other           50.0      –',
        'mean             50.0 ± 0.0   75.0',
    ]
    # NJD 0 and 0.5: mean 0.25, deviation 0.5 / sqrt(2).
    assert lines[5] == 'NJD 0.250 ± 0.354 %   SDlogJ –'
    assert lines[6] == '2 pairs, 0.250 s each, first pair 8.000 s (may include compilation)'


def test_console_table_of_one_pair_with_segmentation():
    record = {**RECORDS[0], 'segmentation_dsc': 0.6875, 'segmentation_dsc_per_label': {1: 0.875, 2: 0.5}}
    lines = console_table(content_of([record])).splitlines()
    assert lines[0].split() == ['DSC', '%', 'before', 'after', 'segmentation']
    assert lines[1].split() == ['right', 'ventricle', '50.0', '75.0', '87.5']
    assert lines[3].split() == ['mean', '50.0', '75.0', '68.8']
    assert lines[-1] == '1 pair, first pair 8.000 s (may include compilation)'


def test_plain_turns_numpy_into_json_types():
    value = {1: np.int64(3), 'a': (np.float32(0.5), math.inf), 'b': np.array([1.0, math.nan])}
    assert json_types(value) == {'1': 3, 'a': [0.5, None], 'b': [1.0, None]}
