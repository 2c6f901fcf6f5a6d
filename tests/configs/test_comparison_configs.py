"""The configs of the comparison: every row on every task, all of them valid."""

import importlib

import pytest
from autofuse_jax.configs.comparison.presets import BRAIN, CARDIAC, CARDIAC_ED_ES, HIPPOCAMPUS, comparison_config
from autofuse_jax.configs.comparison.rows import REGULARISATION, ROWS, TABLES, labelled_name

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import METHODS
from autofuse_jax.training.config_checks import validate
from autofuse_jax.training.phases import phases_of

TASKS = {'cardiac': CARDIAC, 'brain': BRAIN}


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('row', ROWS)
def test_every_row_has_a_valid_config_on_every_task(task, row):
    found = importlib.import_module(f'autofuse_jax.configs.comparison.{task}').get_config(row)
    assert found == comparison_config(TASKS[task], row)
    validate(found)


@pytest.mark.parametrize('row', ROWS)
def test_every_row_is_valid_on_the_small_task(row):
    config = comparison_config(HIPPOCAMPUS, row)
    validate(config)
    assert config.method == ROWS[row].method and config.evaluation.pairs == 'inter_all'


def test_every_method_is_in_a_table_and_every_row_too():
    assert {row.method for row in ROWS.values()} == set(METHODS)
    listed = {name for rows in TABLES.values() for name in rows}
    assert set(ROWS) - listed == {'autofuse_disp'}


@pytest.mark.parametrize('task', TASKS.values())
def test_all_rows_of_a_group_have_the_same_number_of_steps(task):
    totals = {name: phases_of(comparison_config(task, name))[-1].end for name in ROWS}
    assert len(set(totals.values())) == 1


def test_a_first_stage_ends_where_the_method_says():
    config = comparison_config(CARDIAC, 'rsegnet')
    assert [(p.name, p.pairs, p.end) for p in phases_of(config)] == [
        ('phase_1', 'semi', 20_000),
        ('phase_2', 'semi', 40_000),
        ('phase_3', 'ed_es', 50_000),
    ]
    assert config.loss.first_stage == ('phase_1',)
    # On brains half of the steps is the end of a phase, which is not split.
    brain = comparison_config(BRAIN, 'pc_reg')
    assert [p.end for p in phases_of(brain)] == [50_000, 100_000]
    assert brain.loss.first_stage == ('phase_1',)


def test_weak_supervision_sees_labelled_pairs_only():
    config = comparison_config(BRAIN, 'ws_voxelmorph')
    assert [(p.pairs, p.end) for p in phases_of(config)] == [('inter_labelled', 100_000)]
    assert config.loss.num_classes == 20


@pytest.mark.parametrize('name', ['voxelmorf', 'autofuse_0_labelled', 'autofuse_x_labelled'])
def test_an_unknown_row_is_refused(name):
    with pytest.raises(UserError, match=f'unknown row .{name}.'):
        comparison_config(CARDIAC, name)


@pytest.mark.parametrize('name', [*REGULARISATION, 'autofuse_5_labelled', 'autofuse_5_labelled_alone'])
@pytest.mark.parametrize('task', [*TASKS.values(), CARDIAC_ED_ES])
def test_further_rows_are_valid_on_every_task(task, name):
    config = comparison_config(task, name)
    validate(config)
    assert phases_of(config)[-1].end == phases_of(comparison_config(task, 'autofuse'))[-1].end


def test_rows_of_figure_5_hide_labels_and_train_alone_or_with_the_rest():
    both, alone = (comparison_config(CARDIAC, labelled_name(5, alone=alone)) for alone in (False, True))
    assert both.data.labelled_subjects == alone.data.labelled_subjects == 5
    assert [p.pairs for p in phases_of(both)] == ['semi', 'ed_es']
    assert [p.pairs for p in phases_of(alone)] == ['ed_es_labelled']
    assert [p.pairs for p in phases_of(comparison_config(BRAIN, labelled_name(5, alone=True)))] == ['inter_labelled']
    # Nothing but the labels tells the row with all of them from the semi-supervised AutoFuse.
    every = comparison_config(CARDIAC, labelled_name(70))
    every.data.labelled_subjects = -1
    assert every == comparison_config(CARDIAC, 'autofuse_semi') and labelled_name(0) == 'autofuse'


def test_rows_of_table_4_differ_in_the_regularisation_alone():
    weights = {name: comparison_config(CARDIAC, name).loss for name in REGULARISATION}
    assert {name: (loss.prior_lambda, loss.jacobian) for name, loss in weights.items()} == {
        'autofuse_disp_mu_0': (50, 0),
        'autofuse_mu_0': (50, 0),
        'autofuse_lambda_200': (200, 0),
        'autofuse_lambda_400': (400, 0),
    }
