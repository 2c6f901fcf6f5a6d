"""The command that makes the tables and figures of the paper, from the records of this checkout and from others."""

import csv
import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from autofuse_jax.configs.comparison.rows import ROWS, Row

from autofuse_jax.evaluation.pair_data import PairData
from autofuse_jax.evaluation.runs import Case, Run
from experiments.comparison import row_runs
from experiments.comparison.row_runs import STOPPED_STATUS
from experiments.paper import other_data
from experiments.paper.__main__ import RECORDS, main
from experiments.paper.curves import validations_over_training
from experiments.paper.items import ITEMS, figure5_rows
from experiments.paper.printed import printed_number
from tests.experiments.comparison_records import comparison_record, curve_of, row_record
from tests.experiments.paper_data import PAIRS, brains, hearts, stand_in

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / 'docs' / 'paper.md'
ORIGIN = {'command': 'python -m experiments.compare_methods', 'commit': '0123456789ab', 'date': '2026-01-01T00:00'}


def write_record(folder, name, *rows, **others):
    folder.mkdir(exist_ok=True)
    record = ORIGIN | comparison_record(*((row, row_record(row)) for row in rows), **others)
    (folder / name).write_text(json.dumps(record))
    return folder / name


def made_of(tmp_path, *arguments):
    return main([*arguments, '--from-records', f'--records={tmp_path}', f'--out={tmp_path / "out"}'])


def test_everything_is_made_of_the_records_of_this_checkout(tmp_path, capsys):
    started = time.monotonic()
    assert main(['--all', '--from-records', f'--out={tmp_path}']) == 0
    assert time.monotonic() - started < 180
    # The page of the documentation is what the command writes, except for where its pictures lie.
    page = (tmp_path / 'paper.md').read_text(encoding='utf-8')
    documented = PAGE.read_text(encoding='utf-8').replace('](images/paper/', '](')
    assert page == documented, 'run python -m experiments.paper --all --from-records --page=docs/paper.md'
    said = capsys.readouterr().out
    names = [line.split('/')[-1] for line in said.splitlines() if line.startswith('made: ')]
    assert 'table3_acdc' in names and 'frontier_acdc' in names
    for name in names:
        endings = {path.suffix for path in tmp_path.glob(f'{name}.*')}
        assert endings in ({'.md', '.tex', '.csv'}, {'.md', '.png', '.pdf'})
    for name in names:
        if (tmp_path / f'{name}.png').is_file():
            assert (REPOSITORY / 'docs' / 'images' / 'paper' / f'{name}.png').is_file()


def test_a_table_stands_beside_that_of_the_paper(tmp_path, capsys):
    write_record(tmp_path, 'comparison_acdc.json', 'voxelmorph', 'autofuse')
    assert made_of(tmp_path, '--item', 'table2') == 0
    head, *rows = csv.reader((tmp_path / 'out' / 'table2_acdc.csv').open(encoding='utf-8'))
    cells = {row[0].removesuffix(' †'): dict(zip(head, row, strict=True)) for row in rows}
    assert cells['AutoFuse']['paper: DSC %'] == '79.6' and cells['AutoFuse']['DSC %'] == '75.0 ± 5.0'
    assert cells['before']['paper: DSC %'] == '59.0' and cells['VoxelMorph']['paper: CPU s'] == '0.36'
    text = (tmp_path / 'out' / 'table2_acdc.md').read_text(encoding='utf-8')
    assert 'other patients' in text and ORIGIN['command'] in text and 'steps: 400' in text and '0123456789ab' in text
    assert (tmp_path / 'out' / 'table2_acdc.tex').read_text(encoding='utf-8').count(r'\\') == len(rows) + 1


def test_other_data_are_said_to_be_other_data(tmp_path):
    write_record(tmp_path, 'comparison_oasis.json', 'voxelmorph', 'autofuse', task='brain')
    write_record(tmp_path, 'comparison_mine.json', 'voxelmorph', 'autofuse', task='brain')
    assert made_of(tmp_path, '--item', 'table1') == 0
    mine, oasis = ((tmp_path / 'out' / f'table1_{name}.md').read_text(encoding='utf-8') for name in ('brain', 'brain'))
    assert mine == oasis and 'other data' in mine
    write_record(tmp_path, 'comparison_oasis.json', 'autofuse', task='brain', data={'name': 'oasis'})
    assert made_of(tmp_path, '--item', 'table1') == 0
    text = (tmp_path / 'out' / 'table1_oasis.md').read_text(encoding='utf-8')
    assert 'paper: DSC %' in text and '80.8' in text and 'other data' not in text


def test_rows_of_different_pairs_are_refused(tmp_path, capsys):
    path = write_record(tmp_path, 'comparison_acdc.json', 'voxelmorph', 'autofuse')
    record = json.loads(path.read_text())
    record['rows']['voxelmorph']['dsc_after'].pop()
    path.write_text(json.dumps(record))
    assert made_of(tmp_path, '--item', 'table2') == 2
    said = capsys.readouterr().err
    assert 'voxelmorph was scored on 5 pairs, and the other rows on 6' in said and said.count('\n') == 1
    # In two records that one table is made of.
    others = [{'pair': f'other{number}', 'subject': 'x'} for number in range(len(PAIRS))]
    first = write_record(tmp_path / 'a', 'comparison_one.json', 'voxelmorph')
    second = write_record(tmp_path / 'a', 'comparison_two.json', 'autofuse', pairs=others)
    together = ['--item', 'table2', '--comparison', str(first), str(second)]
    assert made_of(tmp_path, *together) == 2
    said = capsys.readouterr().err
    assert 'scored on other pairs' in said and said.count('\n') == 1
    second.write_text(json.dumps(json.loads(second.read_text()) | {'pairs': json.loads(first.read_text())['pairs']}))
    assert made_of(tmp_path, *together) == 0
    text = (tmp_path / 'out' / 'table2_acdc.md').read_text(encoding='utf-8')
    assert text.count('75.0 ± 5.0') == 2


def test_rows_of_several_records_are_tested_together(tmp_path):
    for name, row, dsc in (('one', 'autofuse', 0.75), ('two', 'autofuse', 0.5), ('two', 'voxelmorph', 0.5)):
        record = ORIGIN | comparison_record((row, row_record(row, dsc, p_dsc_after=0.5)))
        path = tmp_path / f'{name}_{row}.json'
        path.write_text(json.dumps(record))
    together = [str(tmp_path / f'{name}.json') for name in ('one_autofuse', 'two_voxelmorph', 'two_autofuse')]
    assert made_of(tmp_path, '--item', 'table2', '--comparison', *together) == 0
    head, *rows = csv.reader((tmp_path / 'out' / 'table2_acdc.csv').open(encoding='utf-8'))
    cells = {row[0].removesuffix(' †'): dict(zip(head, row, strict=True)) for row in rows}
    # All 6 pairs lie below those of the first AutoFuse: P = 2 / 2^6.
    assert cells['VoxelMorph']['P (DSC)'] == '0.0312' and cells['AutoFuse']['P (DSC)'] == '–'


@pytest.mark.parametrize('item', ['table4', 'validation', 'gates', 'figure5', 'figure7', 'figureA2', 'frontier'])
def test_a_missing_record_is_one_line_with_its_command(tmp_path, capsys, item):
    assert made_of(tmp_path, '--item', item) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ITEMS[item].sources)
    for line, source in zip(lines, ITEMS[item].sources, strict=True):
        assert line.startswith(f'missing: {item}: no record') and source.name in line and source.command in line


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('{', 'it is no JSON'),
        ('{"command": "x", "commit": null, "date": "d"}', 'missing'),
        ('[1, 2]', 'an object'),
        (json.dumps(ORIGIN | comparison_record(('autofuse', {'title': 'AutoFuse'}))), 'rows.autofuse.parameters'),
    ],
)
def test_a_record_of_another_kind_is_one_line(tmp_path, capsys, content, words):
    write_record(tmp_path, 'comparison_acdc.json', 'autofuse')
    (tmp_path / 'paper_table4.json').write_text(content)
    assert made_of(tmp_path, '--item', 'table4') == 2
    said = capsys.readouterr().err
    assert 'paper_table4.json is no record of this kind or version' in said and words in said
    assert 'make it again: python -m experiments.paper --item table4' in said and said.count('\n') == 1
    # Everything else is made nevertheless.
    assert made_of(tmp_path, '--all') == 1
    assert (tmp_path / 'out' / 'table2_acdc.md').is_file()
    assert 'failed: table4' in capsys.readouterr().err


def train(folder, data, *arguments):
    places = [
        f'--data={data}',
        f'--records={folder / "records"}',
        f'--out={folder / "out"}',
        f'--work={folder / "work"}',
    ]
    return main([*arguments, *places, '--steps=10'])


def test_table_4_is_trained_and_resumed(tmp_path, monkeypatch, capsys):
    hearts(tmp_path / 'hearts')
    trained = []

    def dsc_of(config):
        trained.append((config.model.output, config.loss.prior_lambda, config.loss.jacobian))
        return 0.8 - 0.1 * config.loss.kl - config.loss.jacobian

    training = stand_in(dsc_of)
    # A training that returns nothing was ended by a signal.
    monkeypatch.setattr(row_runs, 'train_and_evaluate', lambda *run: None if trained else training(*run))
    assert train(tmp_path, tmp_path / 'hearts', '--item', 'table4') == STOPPED_STATUS
    # What was done is in the record, and is not done again.
    assert len(json.loads((tmp_path / 'records' / 'paper_table4.json').read_text())['rows']) == 1
    monkeypatch.setattr(row_runs, 'train_and_evaluate', training)
    assert train(tmp_path, tmp_path / 'hearts', '--item', 'table4') == 0
    assert trained == [
        ('displacement', 50, 0),
        ('displacement', 50, 1e-5),
        ('velocity', 50, 0),
        ('velocity', 200, 0),
        ('velocity', 400, 0),
        ('velocity', 50, 1e-5),
    ]
    head, *rows = csv.reader((tmp_path / 'out' / 'table4_phantom.csv').open(encoding='utf-8'))
    assert len(rows) == 7 and rows[1][0] == 'AutoFuse-disp, μ = 0'
    assert rows[1][head.index('paper, oasis: NJD %')] == '1.741'
    assert (tmp_path / 'out' / 'gates_over_training_phantom.png').is_file()
    # The record is of this recipe.
    assert (
        main(
            ['--item', 'table4', '--steps=11', f'--data={tmp_path / "hearts"}', f'--records={tmp_path / "records"}']
            + [f'--work={tmp_path / "work"}', f'--out={tmp_path / "out"}']
        )
        == 2
    )
    assert 'another budget: steps 10 instead of 11' in capsys.readouterr().err


def test_rows_of_a_table_are_chosen(tmp_path, monkeypatch, capsys):
    hearts(tmp_path / 'hearts')
    monkeypatch.setattr(row_runs, 'train_and_evaluate', stand_in(lambda config: 0.8))
    table = ['--item', 'table3']
    assert train(tmp_path, tmp_path / 'hearts', *table, '--rows', 'autofuse', 'multi_fuse') == 0
    rows = list(csv.reader((tmp_path / 'out' / 'table3_phantom.csv').open(encoding='utf-8')))
    assert [row[0] for row in rows[1:] if 'no record' not in row[0]] == ['before', 'MultiFuse', 'AutoFuse']
    assert train(tmp_path, tmp_path / 'hearts', *table, '--rows', 'voxelmorph') == 2
    assert 'table3 has no row voxelmorph. Expected: early_fuse, ' in capsys.readouterr().err


def test_figure_5_sees_as_many_labels_as_it_says(tmp_path, monkeypatch, capsys):
    hearts(tmp_path / 'hearts')
    seen = []

    def dsc_of(config):
        policies = {phase.pairs for phase in config.phases.values()}
        seen.append((config.model.num_classes, config.data.labelled_subjects, policies))
        return 0.7 + 0.01 * max(0, config.data.labelled_subjects)

    monkeypatch.setattr(row_runs, 'train_and_evaluate', stand_in(dsc_of))
    assert train(tmp_path, tmp_path / 'hearts', '--item', 'figure5', '--labelled=0,1,3') == 0
    cine = {'semi', 'ed_es'}
    assert seen == [
        (0, -1, {'intra_random', 'ed_es'}),
        (4, 1, cine),
        (4, 3, cine),
        (4, 1, {'ed_es_labelled'}),
    ]
    rows = list(csv.reader((tmp_path / 'out' / 'figure5_phantom_numbers.csv').open(encoding='utf-8')))
    assert [row[0] for row in rows[1:]] == ['0', '1', '3']
    # With all subjects labelled there is no rest.
    assert rows[3][1] == rows[3][2] and rows[1][2] == '–'
    assert train(tmp_path / 'b', tmp_path / 'hearts', '--item', 'figure5', '--labelled=0,4') == 2
    assert 'has 3 training subjects with labels' in capsys.readouterr().err and len(seen) == 4


@pytest.mark.parametrize('name', ['oasis', 'mindboggle', 'buckner'])
def test_tables_of_brains_are_made_by_the_same_command(tmp_path, monkeypatch, name):
    brains(tmp_path / name, name)
    phases = []

    def dsc_of(config):
        phases.append({phase.pairs for phase in config.phases.values()})
        assert config.evaluation.pairs == 'inter_fixed' and config.evaluation.split == 'test'
        return 0.8

    monkeypatch.setattr(row_runs, 'train_and_evaluate', stand_in(dsc_of))
    for table, rows in (('table1', ('voxelmorph', 'autofuse')), ('table7', ('loss_fusion', 'autofuse_semi'))):
        monkeypatch.setitem(ITEMS, table, dataclasses.replace(ITEMS[table], rows=rows))
        assert train(tmp_path, tmp_path / name, '--item', table) == 0
    # Both tables' rows are in the record of the data.
    record = json.loads((tmp_path / 'records' / f'comparison_{name}.json').read_text())
    assert set(record['rows']) == {'voxelmorph', 'autofuse', 'loss_fusion', 'autofuse_semi'}
    assert phases == [{'inter'}, {'inter'}, {'inter_labelled'}, {'inter_labelled'}]
    head, *rows = csv.reader((tmp_path / 'out' / f'table1_{name}.csv').open(encoding='utf-8'))
    printed = {row[0]: row[head.index('paper: DSC %')] for row in rows}
    assert printed['VoxelMorph'] == f'{printed_number("1", "voxelmorph", "dsc_percent", name):.1f}'


def scored_run(pairs):
    """Return a run whose pairs were registered by nothing, in the place of `open_workdir`."""
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:5, 2:5, 2:5] = 1
    data = PairData(np.zeros((8, 8, 8, 3)), fixed_labels=labels, moving_labels=labels, seconds=0.1, structures=(1,))
    cases = tuple(Case(pair, 'q', lambda: data, {'first_call': pair == pairs[0]}) for pair in pairs)
    return lambda folder, name, sources: Run(name, folder, 'checkpoint', cases, {0: 'background', 1: 'one'})


def test_rows_of_one_data_set_are_scored_on_another(tmp_path, monkeypatch, capsys):
    brains(tmp_path / 'oasis', 'oasis')
    brains(tmp_path / 'buckner', 'buckner')
    monkeypatch.setitem(ITEMS, 'table1', dataclasses.replace(ITEMS['table1'], rows=('voxelmorph', 'autofuse')))
    score = ['--item', 'table1', f'--score={tmp_path / "buckner"}']
    assert train(tmp_path, tmp_path / 'oasis', *score) == 2
    assert 'no row is trained' in capsys.readouterr().err
    monkeypatch.setattr(row_runs, 'train_and_evaluate', stand_in(lambda config: 0.8))
    assert train(tmp_path, tmp_path / 'oasis', '--item', 'table1') == 0
    monkeypatch.setattr(other_data, 'open_workdir', scored_run(['a_to_b', 'b_to_a']))
    assert train(tmp_path, tmp_path / 'oasis', *score) == 0
    record = json.loads((tmp_path / 'records' / 'comparison_buckner.json').read_text())
    assert record['data']['trained_on'] == 'oasis' and [pair['pair'] for pair in record['pairs']] == [
        'a_to_b',
        'b_to_a',
    ]
    # Not the machine of the training, of which the stand-in says the devices only.
    assert all(row['machine'] == record['machine'] for row in record['rows'].values())
    head, *rows = csv.reader((tmp_path / 'out' / 'table1_buckner.csv').open(encoding='utf-8'))
    cells = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert cells['AutoFuse']['DSC %'].startswith('100.0') and cells['AutoFuse']['paper: DSC %'] == '63.5'
    # The second time nothing is scored.
    monkeypatch.setattr(other_data, 'open_workdir', None)
    assert train(tmp_path, tmp_path / 'oasis', *score) == 0
    # Rows of another recipe, or trained on other data, are not taken for those of this one.
    capsys.readouterr()
    shutil.rmtree(tmp_path / 'work')
    assert train(tmp_path, tmp_path / 'oasis', *score, '--learning-rate=0.002') == 2
    assert 'comparison_buckner.json holds voxelmorph, autofuse with other settings' in capsys.readouterr().err
    assert train(tmp_path, tmp_path / 'buckner', *score) == 2
    assert 'comparison_buckner.json holds rows that were trained on oasis' in capsys.readouterr().err


@pytest.mark.slow
def test_small_networks_are_trained_on_one_folder_and_scored_on_another(tmp_path, monkeypatch):
    brains(tmp_path / 'oasis', 'oasis')
    brains(tmp_path / 'buckner', 'buckner')
    monkeypatch.setitem(ROWS, 'autofuse', Row('AutoFuse', 'voxelmorph', {'base_channels': 2}))
    monkeypatch.setitem(ITEMS, 'table1', dataclasses.replace(ITEMS['table1'], rows=('autofuse',)))
    for more in ([], [f'--score={tmp_path / "buckner"}']):
        assert train(tmp_path, tmp_path / 'oasis', '--item', 'table1', '--validations=2', *more) == 0
    for name in ('oasis', 'buckner'):
        (row,) = json.loads((tmp_path / 'records' / f'comparison_{name}.json').read_text())['rows'].values()
        assert 0 < row['scores']['dsc_after']['mean'] < 1 and len(row['validation']) == 2
        assert (tmp_path / 'out' / f'table1_{name}.tex').is_file()


def test_training_needs_data(tmp_path, capsys):
    assert main(['--item', 'table4', f'--records={tmp_path}', f'--out={tmp_path}']) == 2
    assert '--data and --steps and --work must be given to train' in capsys.readouterr().err


def test_validations_have_a_panel_for_each_way_of_training():
    about = {'command': 'a command', 'date': '2026-12-01', 'commit': 'abc', 'data': {'dataset': 'phantom'}}
    rows = [(name, row_record(name, validation=curve_of(0.6, 0.7))) for name in ('autofuse', 'autofuse_semi')]
    for chosen, panels in ((rows[:1], 1), (rows, 2)):
        (figure,) = validations_over_training(comparison_record(*chosen, **about))
        axes = figure.draw().axes
        assert len(axes) == panels and figure.name.startswith('validation_')
        (line,) = [line for line in axes[-1].lines if line.get_label() == chosen[-1][1]['title']]
        np.testing.assert_allclose(line.get_ydata(), [60, 70])
    assert validations_over_training(comparison_record(('autofuse', row_record('autofuse') | {'validation': []}))) == []


def test_rows_of_figure_5():
    rows = figure5_rows((0, 5, 70))
    assert rows == ('autofuse', 'autofuse_5_labelled', 'autofuse_70_labelled', 'autofuse_5_labelled_alone')


def test_records_lie_where_the_other_experiments_leave_theirs():
    assert (RECORDS / 'instance_acdc.json').is_file()
