"""The comparison without training: pairs, summaries, tables, and what happens without antspyx."""

import json
import sys

import numpy as np
import pytest

from autofuse_jax.classical.syn import load_ants
from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.errors import UserError
from experiments.comparison import compare_with_syn
from experiments.comparison.compare_with_syn import brain_pairs, read_work, run_before, summarise
from experiments.tables.registration_tables import brain_cut_table, comparison_table, summary_of

AFFINE = np.eye(4)


@pytest.fixture
def brains(tmp_path):
    """Three tiny subjects whose label 10 is structure 1 and whose label 99 means nothing."""
    root = tmp_path / 'brains'
    rng = np.random.default_rng(0)
    for number, name in enumerate(('a', 'b', 'c')):
        labels = np.zeros((8, 8, 8), np.int32)
        labels[2:6, 2:6, 2 + number // 2 : 6 + number // 2] = 10
        labels[0, 0, 0] = 99
        write_image(root / name / 't1.nii.gz', rng.uniform(size=labels.shape), AFFINE)
        write_labels(root / name / 'seg.nii.gz', labels, AFFINE)
    (tmp_path / 'splits.json').write_text(json.dumps({'brains': {'train': ['a'], 'validation': ['b', 'c']}}))
    (tmp_path / 'map.json').write_text(json.dumps({'neuromorphometrics_to_35': {'10': 1, '11': 0}}))
    return root


def test_all_ordered_pairs_of_a_split_with_merged_labels(brains):
    pairs = list(brain_pairs(brains, brains.parent / 'map.json', 'validation'))
    assert [pair.name for pair in pairs] == ['c_to_b', 'b_to_c']
    assert pairs[0].structures == (1,)
    fixed, moving = pairs[0].load()
    assert (fixed.name, moving.name) == ('b', 'c')
    assert np.unique(fixed.labels).tolist() == [0, 1]
    # The cube of c lies one voxel of four further along the last axis.
    assert run_before(fixed, moving, (1,))['dsc'] == pytest.approx(0.75)


def test_means_are_over_the_pairs_that_a_method_has():
    records = {'p': {'affine': {'dsc': 0.5, 'seconds': 2.0}}, 'q': {'affine': {'dsc': 0.7}, 'SyN': {'dsc': 0.6}}}
    records['q']['affine']['seconds'] = 4.0
    summary = summarise(records, ['p', 'q'])
    assert summary['affine'] == {'pairs': 2, 'dsc_deviation': pytest.approx(0.02**0.5), 'dsc': 0.6, 'seconds': 3.0}
    assert summary['SyN']['pairs'] == 1
    table = comparison_table(summary)
    assert '| affine | 2 | 60.0 ± 14.1 | – | 3 | – |' in table
    assert 'SyN' not in table
    assert 'ANTs SyN, cross-correlation | 1 | 60.0 | –' in comparison_table({'SyN': summary['SyN']})


def test_deviations_are_of_the_pairs_and_not_those_of_an_older_summary():
    records = {'p': {'affine': {'dsc': 0.5}, 'SyN': {'dsc': 0.6}}, 'q': {'affine': {'dsc': 0.7}}}
    old = {'affine': {'pairs': 2, 'dsc': 0.6, 'dsc_deviation': 0.1}}
    record = {'data': {'pairs': ['p', 'q']}, 'records': records, 'summary': old}
    assert summary_of(record)['affine']['dsc_deviation'] == pytest.approx(0.02**0.5)
    assert {name: means['pairs'] for name, means in summary_of(record, with_syn=True).items()} == {
        'affine': 1,
        'SyN': 1,
    }


def test_what_was_made_with_something_else_is_not_gone_on_with(brains, monkeypatch, capsys):
    monkeypatch.setattr(compare_with_syn, 'enable_compilation_cache', lambda: None)
    label_map, work, out = (brains.parent / name for name in ('map.json', 'work.json', 'out.json'))
    command = ['--task=brains', f'--data={brains}', f'--label-map={label_map}', f'--work={work}', f'--out={out}']
    command += ['--methods', 'before']
    assert compare_with_syn.main(command) == 0 and compare_with_syn.main(command) == 0
    assert list(json.loads(out.read_text())['records']) == ['c_to_b', 'b_to_c']
    label_map.write_text(json.dumps({'neuromorphometrics_to_35': {'10': 2}}))
    assert compare_with_syn.main(command) == 2
    assert 'work.json holds routes that were made with other label map' in capsys.readouterr().err
    # A work file of an earlier version says nothing, and what it has not been made with may be added.
    work.write_text(json.dumps({'c_to_b': {}}))
    assert read_work(work, {'weights': 'a', 'SyN': None}) == ({'c_to_b': {}}, {'weights': 'a'})
    work.write_text(json.dumps({'made_with': {'weights': 'a'}}))
    assert read_work(work, {'weights': None, 'SyN': {'steps': (1, 2)}})[1] == {'weights': 'a', 'SyN': {'steps': [1, 2]}}
    with pytest.raises(UserError, match='made with other weights'):
        read_work(work, {'weights': 'b'})


def test_budgets_are_further_routes_with_so_many_steps(monkeypatch):
    ran = []
    monkeypatch.setattr(compare_with_syn, 'run_ours', lambda *pair, **how: ran.append((pair, how)))
    alone = compare_with_syn.routes_with_budgets([(6, 4, 2)], None)
    assert list(alone) == ['affine + instance, 12 steps']
    both = compare_with_syn.routes_with_budgets([(6, 4, 2), (15, 10, 5)], 'network')
    assert list(both)[1::2] == ['affine + network + instance, 12 steps', 'affine + network + instance, 30 steps']
    # With large volumes, too, the steps are those that were asked for.
    both['affine + network + instance, 30 steps']('fixed', 'moving', (1,))
    ((pair, how),) = ran
    assert pair == ('fixed', 'moving', (1,)) and how['model'] == 'network'
    assert (how['settings'].instance.steps, how['settings'].instance.steps_of_large) == ((15, 10, 5), 15)


def test_brains_that_were_fitted_are_marked():
    measured = {'x': {'cut_percent': 0.04, 'seconds': 9.6}, 'y': {'cut_percent': 0.1, 'seconds': 20, 'fit_scale': [1]}}
    assert '| x | 0.0400 | no | 10 |\n| y | 0.1000 | yes | 20 |' in brain_cut_table({'measured': measured})


def test_without_antspyx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ants', None)
    with pytest.raises(UserError, match=r'pip install "autofuse_jax\[syn\]"'):
        load_ants(2)
