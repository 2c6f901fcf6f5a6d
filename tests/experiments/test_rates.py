"""Learning rates by family: which is best, and those of a record."""

import json

import pytest
from autofuse_jax.configs.comparison.rows import ROWS

from autofuse_jax.errors import UserError
from experiments.comparison.rates import FAMILIES, best_rate, is_complete, read_rates


def trial(rate, dsc, njd):
    return {'learning_rate': rate, 'diverged': False, 'dsc_after': dsc, 'njd_percent': njd}


def test_every_row_is_in_one_family():
    rows = [row for family in FAMILIES.values() for row in family.rows]
    assert sorted(rows) == sorted(ROWS)
    assert all(family.representative in family.rows for family in FAMILIES.values())


def test_the_best_overlap_among_smooth_fields_is_chosen():
    assert best_rate([trial(1e-4, 0.6, 0.0), trial(1e-3, 0.7, 0.4), trial(1e-2, 0.8, 0.6)]) == 1e-3
    assert best_rate([trial(1e-3, 0.7, 2.0), trial(1e-2, 0.8, 3.0)]) == 1e-3
    diverged = {'learning_rate': 1e-2, 'diverged': True}
    assert best_rate([diverged, trial(1e-3, 0.1, 9.0)]) == 1e-3
    assert best_rate([diverged]) is None and best_rate([]) is None


def test_a_search_is_complete_with_the_last_rate():
    family = FAMILIES['fusion']
    trials = [trial(rate, 0.7, 0.0) for rate in family.rates]
    assert is_complete(family, trials) and not is_complete(family, trials[1:])


def rates_file(folder, content):
    path = folder / 'rates.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_rows_without_a_rate_may_have_another(tmp_path):
    path = rates_file(tmp_path, {'rates': {'voxelmorph': 3e-3}})
    assert read_rates(path, ['voxelmorph', 'early_fuse'], 2e-4) == {'voxelmorph': 3e-3}


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('{', 'holds no learning rates'),
        ({'families': {}}, 'holds no learning rates'),
        ({'rates': [1e-3]}, 'holds no learning rates'),
        ({'rates': {'voxelmorph': 'fast'}}, 'holds no learning rates'),
        ({'rates': {'voxelmorf': 1e-3}}, 'unknown rows voxelmorf'),
        ({'rates': {'voxelmorph': 0}}, 'learning rates of voxelmorph 0'),
        ({'rates': {'sen': 1e-3}}, 'no learning rate of voxelmorph'),
    ],
)
def test_wrong_rates_are_refused(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        read_rates(rates_file(tmp_path, content), ['voxelmorph'])
