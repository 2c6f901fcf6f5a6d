"""What all rows of a comparison have in common reaches their configs."""

import argparse
from pathlib import Path

import pytest
from autofuse_jax.configs.comparison.presets import TASKS

from autofuse_jax.errors import UserError
from experiments.comparison.recipe import parse_grid, recipe_differences, recipe_of, row_config, scaled_phases

NO_RECIPE = {'task': 'cardiac', 'data': Path('prepared'), 'grid': None, 'steps': 400, 'schedule': None, 'warmup': None}
NO_RECIPE |= {'clip_norm': None, 'validations': 1, 'split': 'test'}
RECIPE = NO_RECIPE | {'grid': '64,32,16', 'warmup': 7, 'clip_norm': 0.5, 'schedule': 'cosine', 'validations': 2}


@pytest.mark.parametrize('name', ['voxelmorph', 'transmorph', 'transmatch', 'dtn'])
def test_the_recipe_reaches_every_row(name):
    config = row_config(name, argparse.Namespace(**RECIPE))
    assert config.data.grid == (64, 32, 16)
    optimizer = config.optimizer
    assert (optimizer.warmup_steps, optimizer.clip_norm, optimizer.schedule) == (7, 0.5, 'cosine')
    assert config.training.validate_every == 200
    # A run that is killed loses few steps.
    assert config.training.checkpoint_every <= 100
    if name in ('transmorph', 'transmatch'):
        assert config.model.window == (2, 2, 2)
    if name == 'dtn':
        assert config.model.size == (64, 32, 16)


def test_without_a_recipe_the_configs_decide():
    config = row_config('transmorph', argparse.Namespace(**NO_RECIPE))
    assert config.data.grid == (0, 0, 0) and config.model.window == (4, 4, 2)
    optimizer = config.optimizer
    assert (optimizer.warmup_steps, optimizer.clip_norm, optimizer.learning_rate) == (0, 0.0, 1e-4)


def test_a_learning_rate_of_a_row_comes_before_that_of_the_configs():
    assert row_config('sen', argparse.Namespace(**RECIPE), 3e-3).optimizer.learning_rate == 3e-3


def test_recipes_of_records_are_compared():
    recipe = recipe_of(argparse.Namespace(**RECIPE))
    assert recipe['grid'] == [64, 32, 16] and recipe['warmup_steps'] == 7
    assert recipe_differences(recipe | {'date': 'today'}, recipe) == ''
    other = {field: value for field, value in recipe.items() if field != 'grid'} | {'steps': 5}
    assert recipe_differences(other, recipe) == 'steps 5 instead of 400, grid None instead of [64, 32, 16]'


@pytest.mark.parametrize('text', ['64,64', '64,64,16,1', '64x64x16', '64,64,-16', '64,64,0', '64,64,1.5', ''])
def test_a_grid_is_three_numbers(text):
    with pytest.raises(UserError, match='three whole numbers'):
        parse_grid(text)


@pytest.mark.parametrize(
    ('steps', 'total', 'expected'),
    [
        ({'a': 40, 'b': 10}, 100, {'a': 80, 'b': 20}),
        ({'a': 40, 'b': 10}, 2, {'a': 1, 'b': 1}),
        ({'a': 98, 'b': 1, 'c': 1}, 3, {'a': 1, 'b': 1, 'c': 1}),
        ({'a': 0, 'b': 7}, 5, {'a': 0, 'b': 5}),
        ({'a': 20_000, 'b': 20_000, 'c': 10_000}, 7, {'a': 3, 'b': 3, 'c': 1}),
    ],
)
def test_phases_keep_their_shares(steps, total, expected):
    assert scaled_phases(steps, total) == expected


def test_every_phase_needs_a_step():
    # Hearts have two phases.
    assert len(TASKS['cardiac'].unsupervised) == 2
    with pytest.raises(UserError, match='--steps=1 for 2 phases'):
        row_config('autofuse', argparse.Namespace(**NO_RECIPE | {'steps': 1}))
