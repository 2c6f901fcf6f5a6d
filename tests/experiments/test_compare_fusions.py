"""Kinds of fusion side by side: the table, the test of differences, and pairs that differ."""

import json

import pytest

from experiments.weights.compare_fusions import fusions_table, main

PAIRS = ('a_ED_to_ES', 'a_ES_to_ED', 'b_ED_to_ES', 'b_ES_to_ED', 'c_ED_to_ES', 'c_ES_to_ED')
ABOUT = {'command': 'python -m some', 'commit': 'abc', 'machine': {}, 'date': '2026-01-01'}


def write_run(folder, fusion, dsc, pairs=PAIRS):
    """A training and its evaluation, with some DSC of the first pair and a hundredth more of each that follows."""
    training, evaluation = folder / fusion, folder / f'{fusion}_eval'
    values = [dsc + 0.01 * number for number in range(len(pairs))]
    mean = {'mean': sum(values) / len(values), 'deviation': 0.02}
    small = {'mean': 0.0, 'deviation': 0.0}
    scores = {'dsc_before': mean, 'dsc_after': mean, 'njd_percent': small, 'sdlogj': small}
    result = ABOUT | {
        'config': {'model': {'fusion': fusion}},
        'parameters': 2_000_000,
        'scores': scores | {'structures': {'myocardium': {'dsc_after': mean}}},
    }
    listed = [{'pair': name, 'dsc_after': value} for name, value in zip(pairs, values, strict=True)]
    files = {
        training / 'training.json': ABOUT
        | {'settings': {'out': f'{fusion}.npz', 'steps': 1000}, 'train_minutes': 20.0},
        evaluation / 'evaluation_validation' / 'result.json': result,
        evaluation / 'evaluation_validation' / 'pairs.json': {'pairs': listed},
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def run(folder, *fusions):
    return main(
        [
            '--trainings',
            *(str(folder / fusion) for fusion in fusions),
            '--evaluations',
            *(str(folder / f'{fusion}_eval') for fusion in fusions),
            f'--out={folder}/record.json',
        ]
    )


def test_each_kind_has_a_row_and_a_test_against_the_first(tmp_path, capsys):
    for fusion, dsc in (('gate', 0.8), ('sum', 0.79), ('none', 0.7)):
        write_run(tmp_path, fusion, dsc)
    assert run(tmp_path, 'gate', 'sum', 'none') == 0
    record = json.loads((tmp_path / 'record.json').read_text())
    first, *others = record['networks']
    # Six differences of one sign: P = 2 / 2^6 each, doubled by Holm.
    assert 'p' not in first and [row['p'] for row in others] == [pytest.approx(0.0625)] * 2
    table = fusions_table(record)
    assert table in capsys.readouterr().out
    assert '| gates (the paper) | 2.00 | 1,000 | 82.5 ± 2.0 | 82.5 | 0.0000 | 0.000 | – |' in table
    assert table.count('0.0625') == 2


def test_other_pairs_are_refused(tmp_path, capsys):
    write_run(tmp_path, 'gate', 0.8)
    write_run(tmp_path, 'none', 0.7, PAIRS[:-1])
    assert run(tmp_path, 'gate', 'none') == 2
    assert 'none.npz was scored on other pairs than gate.npz' in capsys.readouterr().err
    assert not (tmp_path / 'record.json').exists()


def test_what_is_missing_is_named(tmp_path, capsys):
    write_run(tmp_path, 'gate', 0.8)
    assert run(tmp_path, 'gate', 'sum') == 2
    assert 'sum/training.json is not there' in capsys.readouterr().err
