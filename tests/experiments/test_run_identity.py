"""Runs that were recorded before configs had all fields of today are found again."""

import argparse
import functools
import json
from pathlib import Path

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.records.run_folder import CONFIG_NAME
from experiments.comparison.recipe import row_config
from experiments.comparison.run_identity import LATER_FIELDS, fingerprint, holds_run


def config_of(name='autofuse_no_elk', rate=3e-4, **others):
    recipe = {'task': 'cardiac', 'data': Path('prepared'), 'grid': '64,64,16', 'schedule': 'cosine', 'clip_norm': 1.0}
    recipe |= {'warmup': 20, 'steps': 120, 'validations': 1, 'split': 'validation'}
    return row_config(name, argparse.Namespace(**recipe | others), rate)


def without_later_fields(config):
    stored = json.loads(config.to_json_best_effort())
    for field in LATER_FIELDS:
        *sections, name = field.split('.')
        functools.reduce(dict.__getitem__, sections, stored).pop(name, None)
    return stored


# From records of trainings, and from the code that began them.
@pytest.mark.parametrize(
    ('name', 'rate', 'recorded'),
    [
        ('autofuse_no_elk', 1e-3, '5324ff4cec6b9759'),
        ('autofuse_no_elk', 3e-4, '81c95c1c7a2eefb8'),
        ('autofuse_no_elk', 1e-4, '72054d65ebd28235'),
        ('voxelmorph', 3e-4, 'f4cb646acbaf8bba'),
        ('transmorph', 3e-4, '44e81286cd66ccaa'),
    ],
)
def test_recorded_trials_are_found_again(name, rate, recorded):
    assert fingerprint(config_of(name, rate)) == recorded


def test_the_place_of_the_data_and_what_changes_no_number_are_not_part_of_a_run():
    config = config_of()
    before = fingerprint(config)
    config.data.root, config.training.log_every, config.training.checkpoint_every = 'elsewhere', 7, 9
    assert fingerprint(config) == before
    config.optimizer.average_decay = 0.99
    assert fingerprint(config) != before


def test_a_folder_from_before_a_field_existed_holds_the_run(tmp_path):
    config = config_of()
    assert not holds_run(tmp_path, config)
    stored = without_later_fields(config)
    assert 'teacher' not in stored['data'] and 'fine_pooling' not in stored['model']
    (tmp_path / CONFIG_NAME).write_text(json.dumps(stored))
    assert holds_run(tmp_path, config)
    config.model.thin_levels = 2
    with pytest.raises(UserError, match=r'another config: model.thin_levels: absent -> 2'):
        holds_run(tmp_path, config)
    # A field that is written, with another value than the present one.
    (tmp_path / CONFIG_NAME).write_text(config.to_json_best_effort())
    config.model.thin_levels = 0
    with pytest.raises(UserError, match=r'another config: model.thin_levels: 2 -> absent'):
        holds_run(tmp_path, config)
