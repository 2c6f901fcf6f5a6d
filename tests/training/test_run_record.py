"""What resuming and reporting read of a checkpoint's record is checked, whatever is damaged in it."""

import copy
from pathlib import Path

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.training.run_record import check_record

WHOLE = {
    'config': {'seed': 1},
    'best': 0.5,
    'measure': 'dsc_after',
    'train_seconds': 12.5,
    'data': {'phase': 'phase_0', 'iterator': {'next_index': 3}},
    'window': [{'loss': 1.5}],
    'labelled_subjects': 2,
}
OPTIONAL = {'measure'}


@pytest.mark.parametrize(
    ('name', 'values'),
    {
        'config': ['text', [1], None],
        'best': ['0.5', [1], True, float('nan')],
        'measure': ['dsc', 3, None],
        'train_seconds': [-1.0, 'long', None, float('inf')],
        'data': ['text', {}, {'phase': 1, 'iterator': {'next_index': 3}}],
        'window': ['text', {}, [1.5], [{'loss': 'low'}], [{'loss': None}]],
        'labelled_subjects': [-1, 1.5, '2', None],
    }.items(),
)
def test_a_field_of_another_kind_is_named(name, values):
    for value in values:
        with pytest.raises(UserError, match=f'the record of a checkpoint in run .*{name}'):
            check_record(WHOLE | {name: value}, Path('run'))


@pytest.mark.parametrize('name', sorted(WHOLE.keys() - OPTIONAL))
def test_a_missing_field_is_named(name):
    record = copy.deepcopy(WHOLE)
    del record[name]
    with pytest.raises(UserError, match=f'{name} is missing'):
        check_record(record, Path('run'))


def test_a_place_in_the_data_is_a_count():
    for index in ('3', 1.5, -1, None):
        with pytest.raises(UserError, match='next_index'):
            check_record(WHOLE | {'data': {'phase': 'phase_0', 'iterator': {'next_index': index}}}, Path('run'))


def test_whole_records_are_taken():
    check_record(WHOLE, Path('run'))
    check_record({name: value for name, value in WHOLE.items() if name not in OPTIONAL} | {'best': None}, Path('run'))
