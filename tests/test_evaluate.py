"""The command: tables for one run, comparisons of several, several protocols, and every error a user can make."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autofuse_jax.data.volumes import write_labels
from autofuse_jax.evaluate import main
from autofuse_jax.reports.summary import RunContent
from autofuse_jax.reports.tables import write_tables
from autofuse_jax.training.validation import training_protocol
from tests.evaluation.made_results import AFFINE, SHAPE, shift_field, write_learn2reg, write_result, write_results

REPOSITORY = Path(__file__).resolve().parents[1]
RUN_FILES = {'pairs.csv', 'structures.csv', 'pairs.json', 'summary.md', 'summary.tex'}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Two runs; `worse` has a pair more, and misses by a voxel."""
    root = tmp_path_factory.mktemp('runs')
    write_results(root / 'good', dict.fromkeys('abcdef', -2.0), root / 'data')
    write_results(root / 'worse', dict.fromkeys('abcdefg', -1.0), root / 'data')
    return root


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith('error: ') and captured.err.count('\n') == 1
    return captured.err


def test_one_run(runs, tmp_path, capsys):
    assert main([str(runs / 'good'), f'--out={tmp_path / "out"}']) == 0
    shown = capsys.readouterr()
    assert 'good: 6 pairs, DSC % 100.0 ± 0.0, HD95 mm 0.00 ± 0.00' in shown.out
    assert 'scored 6/6 pairs' in shown.err
    assert files_of(tmp_path / 'out') == {f'good/{name}' for name in RUN_FILES} | {'protocol.json', 'evaluation.json'}
    content = json.loads((tmp_path / 'out' / 'good' / 'pairs.json').read_text())
    assert content['header']['protocol'] == 'default' and content['protocol']['folding']['differences'] == 'forward'
    assert content['classes'] == {'1': 'left_ventricle', '2': 'right & rest'}


def test_a_split_is_refused_where_nothing_has_splits(runs, tmp_path, capsys):
    message = refused(capsys, runs / 'good', f'--out={tmp_path / "out"}', '--split=test')
    assert '--split is given without a network' in message and not (tmp_path / 'out').exists()


def test_two_runs_are_compared_on_their_common_pairs(runs, tmp_path):
    out = tmp_path / 'out'
    assert main([str(runs / 'good'), str(runs / 'worse'), f'--out={out}', '--reference=worse']) == 0
    page = (out / 'comparison.md').read_text(encoding='utf-8')
    assert '6 pairs are in every run; left out because another run lacks them: 1 of worse.' in page
    # 100 % against 75 % on six pairs: P = 2 / 2^6, alone in its family.
    assert '| good | DSC % | +25.0 | +25.0 to +25.0 | yes | +1.00 |' in page
    row = next(csv.DictReader((out / 'comparison.csv').open(newline='')))
    assert (row['run'], row['reference'], row['pairs'], row['effect']) == ('good', 'worse', '6', '1.0')
    assert r'left\_ventricle' in (out / 'comparison.tex').read_text()
    assert json.loads((out / 'comparison.json').read_text())['pairs'] == list('abcdef')
    assert RUN_FILES <= {name.removeprefix('worse/') for name in files_of(out)}


def test_names_and_default_reference(runs, tmp_path):
    arguments = [str(runs / 'good'), str(runs / 'worse'), '--names', 'Ours', 'SyN', f'--out={tmp_path / "out"}']
    assert main(arguments) == 0
    assert '| SyN | DSC % | -25.0 |' in (tmp_path / 'out' / 'comparison.md').read_text()
    assert (tmp_path / 'out' / 'Ours' / 'pairs.csv').is_file()


def test_earlier_scores_are_taken_as_they_are(runs, tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    assert main([str(runs / 'worse'), f'--out={first}']) == 0
    assert main([str(runs / 'good'), str(first / 'worse'), f'--out={second}']) == 0
    page = (second / 'comparison.md').read_text()
    assert '| worse | DSC % | -25.0 |' in page and 'may differ for that reason' not in page
    third = tmp_path / 'third'
    assert main([str(runs / 'good'), str(first / 'worse'), f'--out={third}', '--protocol', 'learn2reg']) == 0
    assert 'worse was scored under the protocol default, not under learn2reg' in (third / 'comparison.md').read_text()


def test_means_say_over_how_many_pairs_they_are(tmp_path, capsys):
    write_results(tmp_path / 'run', dict.fromkeys('abc', -2.0), tmp_path / 'data')
    write_results(tmp_path / 'other', dict.fromkeys('abc', -1.0), tmp_path / 'data')
    # Of b neither image has a structure.
    for role in ('fixed', 'moving'):
        write_labels(tmp_path / 'data' / 'b' / f'{role}_seg.nii.gz', np.zeros(SHAPE, np.uint8), AFFINE)
    assert main([str(tmp_path / 'run'), str(tmp_path / 'other'), f'--out={tmp_path / "out"}']) == 0
    assert 'run: 3 pairs, DSC % 100.0 ± 0.0 (2 of 3 pairs), HD95 mm 0.00' in capsys.readouterr().out
    said = 'DSC, HD95, ASSD: means over 2 of 3 pairs, the others have no number.'
    assert f'\n\n{said}\n' in (tmp_path / 'out' / 'run' / 'summary.md').read_text()
    assert f'\n\nother, {said}\n' in (tmp_path / 'out' / 'comparison.md').read_text()


def test_a_pair_that_cannot_be_scored_is_named(tmp_path, capsys):
    data = write_learn2reg(tmp_path / 'data', {'0001': 5, '0002': 3})
    (tmp_path / 'fields').mkdir()
    np.savez(tmp_path / 'fields' / 'disp_0001_0002.npz', shift_field(np.nan))
    message = refused_after_scoring(capsys, tmp_path / 'fields', f'--dataset-json={data}', f'--out={tmp_path / "out"}')
    assert 'the pair 0002_0000_to_0001_0000: the displacement cannot be scored' in message


def test_earlier_scores_keep_their_units(runs, tmp_path, capsys):
    voxels = tmp_path / 'voxels.json'
    voxels.write_text('{"name": "voxels", "surface": {"spacing": "unit"}}')
    for run in ('good', 'worse'):
        assert main([str(runs / run), f'--out={tmp_path / run}', f'--protocol={voxels}']) == 0
    earlier = [str(tmp_path / run / run) for run in ('good', 'worse')]
    capsys.readouterr()
    assert main([*earlier, f'--out={tmp_path / "both"}']) == 0
    # A plane of 2 mm is missed, which is a voxel.
    assert 'worse: 7 pairs, DSC % 75.0 ± 0.0, HD95 voxels 1.00 ± 0.00' in capsys.readouterr().out
    page = (tmp_path / 'both' / 'comparison.md').read_text()
    assert 'HD95 voxels' in page and 'HD95 mm' not in page
    assert main([str(runs / 'good'), earlier[1], f'--out={tmp_path / "mixed"}']) == 0
    page = (tmp_path / 'mixed' / 'comparison.md').read_text()
    assert 'may differ for that reason, and it has HD95 voxels, ASSD voxels.' in page
    arguments = [earlier[0], f'--out={tmp_path / "protocols"}', '--protocol', 'default', 'learn2reg']
    assert main(arguments) == 0
    page = (tmp_path / 'protocols' / 'protocols.md').read_text()
    assert 'The scores of good were taken as they are, made under the protocol voxels; no other was applied.' in page


@pytest.mark.parametrize(
    ('protocol', 'remark'),
    [(None, 'under an unrecorded protocol'), (training_protocol().as_record(), None)],
    ids=['earlier version', 'today'],
)
def test_report_after_training_can_be_compared(runs, tmp_path, protocol, remark):
    records = [{'pair': name, 'subject': name, 'dsc_before': 0.5, 'dsc_after': 0.5} for name in 'abc']
    write_tables(tmp_path / 'evaluation_test', RunContent(records, {1: 'left'}, 'Report', {}, protocol))
    out = tmp_path / 'out'
    assert main([str(runs / 'good'), str(tmp_path / 'evaluation_test'), f'--out={out}']) == 0
    page = (out / 'comparison.md').read_text()
    assert '3 pairs are in every run' in page
    assert remark in page if remark else 'may differ for that reason' not in page
    assert '| evaluation_test | DSC % | -50.0 |' in page


def test_learn2reg_under_several_protocols(tmp_path):
    data = write_learn2reg(tmp_path / 'data', {'0001': 5, '0002': 3})
    (tmp_path / 'fields').mkdir()
    np.savez(tmp_path / 'fields' / 'disp_0001_0002.npz', shift_field(-1.0))
    mine = tmp_path / 'mine.json'
    mine.write_text('{"name": "mine", "labels": {"2": "second"}}')
    arguments = [str(tmp_path / 'fields'), f'--dataset-json={data}', f'--out={tmp_path / "out"}']
    assert main([*arguments, '--protocol', 'default', 'learn2reg', str(mine)]) == 0
    page = (tmp_path / 'out' / 'protocols.md').read_text()
    # A plane of 2 mm is missed: 2 mm, or 1 voxel of size 1; landmarks miss by a voxel of 2 mm.
    assert '| HD95 mm, fields | 2.00 | 1.00 | 2.00 |' in page and '| TRE mm, fields | 2.00 | 2.00 | 2.00 |' in page
    assert '| surface.spacing | file | unit | file |' in page
    found = files_of(tmp_path / 'out')
    assert {f'mine/fields/{name}' for name in RUN_FILES} <= found
    assert '| second |' in (tmp_path / 'out' / 'mine' / 'fields' / 'summary.md').read_text()
    assert 'label 1' not in (tmp_path / 'out' / 'mine' / 'fields' / 'summary.md').read_text()


def test_existing_folder_is_refused_or_replaced(runs, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main([str(runs / 'good'), str(runs / 'worse'), f'--out={out}']) == 0
    capsys.readouterr()
    (out / 'my notes.txt').write_text('kept')
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    assert f'{out} exists and is not empty. To fix: name another' in refused(capsys, runs / 'good', f'--out={out}')
    assert before == {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    assert main([str(runs / 'good'), f'--out={out}', '--overwrite']) == 0
    # Nothing of the earlier comparison stays, but what is not ours does.
    assert files_of(out) == {f'good/{name}' for name in RUN_FILES} | {
        'protocol.json',
        'evaluation.json',
        'my notes.txt',
    }


def test_damaged_marker_is_not_guessed(runs, tmp_path, capsys):
    (tmp_path / 'evaluation.json').write_text('{')
    message = refused(capsys, runs / 'good', f'--out={tmp_path}', '--overwrite')
    assert 'evaluation.json is no record of results of this program' in message


def refused_after_scoring(capsys, *arguments):
    """Like `refused`, but the progress of scoring comes before the message."""
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_wrong_arguments(runs, tmp_path, capsys):
    out = f'--out={tmp_path / "out"}'
    (tmp_path / 'file').write_text('')
    assert 'is a file' in refused(capsys, runs / 'good', f'--out={tmp_path / "file"}')
    assert '--reference other is no run. Expected: one of good' in refused(
        capsys, runs / 'good', out, '--reference=other'
    )
    assert 'there is no protocol l2r' in refused(capsys, runs / 'good', out, '--protocol=l2r')
    assert 'two protocols are called default' in refused(capsys, runs / 'good', out, '--protocol', 'default', 'default')
    assert 'there is no nowhere' in refused(capsys, runs / 'good', out, '--data=nowhere')
    assert 'no pairs were found' in refused(capsys, tmp_path, out)
    assert not (tmp_path / 'out').exists()


def test_runs_without_common_pairs(runs, tmp_path, capsys):
    write_result(tmp_path / 'single', shift=0.0, data=tmp_path / 'data')
    message = refused(capsys, runs / 'good', tmp_path / 'single', f'--out={tmp_path / "out"}')
    assert 'no pair in common (good: 6 pairs, such as a; single: 1 pairs, such as moving_to_fixed)' in message


def test_bad_pair_leaves_nothing(tmp_path, capsys):
    write_results(tmp_path / 'run', {'a': 0.0, 'b': 0.0}, tmp_path / 'data')
    (tmp_path / 'run' / 'b' / 'forward_voxel.nii.gz').write_bytes(b'damaged')
    message = refused_after_scoring(capsys, tmp_path / 'run', f'--out={tmp_path / "out"}')
    assert 'b/forward_voxel.nii.gz' in message
    assert not (tmp_path / 'out').exists()


def test_it_runs_as_a_module_without_jax(runs, tmp_path):
    program = (
        'import runpy, sys; sys.argv = ["evaluate", *sys.argv[1:]]\n'
        'try: runpy.run_module("autofuse_jax.evaluate", run_name="__main__")\n'
        'except SystemExit as stop: assert stop.code == 0, stop.code\n'
        'assert "jax" not in sys.modules'
    )
    arguments = [str(runs / 'good'), f'--out={tmp_path / "out"}']
    subprocess.run([sys.executable, '-c', program, *arguments], cwd=REPOSITORY, check=True, capture_output=True)
    assert (tmp_path / 'out' / 'evaluation.json').is_file()
