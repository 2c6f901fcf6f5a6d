"""Executing notebooks: what is refused, what is kept of their outputs, and the table of their times."""

import types

import pytest

from experiments.notebooks import execute
from experiments.notebooks.sources import Cell, cells_of
from experiments.notebooks.table import notebooks_table


def stream(name, text):
    return types.SimpleNamespace(output_type='stream', name=name, text=text)


def test_cells_are_read_as_jupyter_would(tmp_path):
    path = tmp_path / 'one.py'
    path.write_text(
        '# ---\n# jupyter: x\n# ---\n\n# %% [markdown]\n# # Head\n#\n#     code\n\n# %%\na = 1\n\n\n# %%\nb\n'
    )
    assert cells_of(path) == [Cell('markdown', '# Head\n\n    code'), Cell('code', 'a = 1'), Cell('code', 'b')]


def test_texts_of_one_stream_are_joined_and_progress_is_left_out():
    outputs = [
        stream('stderr', 'x.nii.gz: 4 voxels\nvelocity at 1/4: step 5/60, loss -0.9\n'),
        stream('stdout', 'a\n'),
        stream('stdout', 'b\n'),
        stream('stderr', 'frame 2/8, velocity at 1/4: step 60/60, loss -1.0, at most 0s left\n'),
    ]
    kept = execute.without_progress(execute.joined_streams(outputs))
    assert [(output.name, output.text) for output in kept] == [('stderr', 'x.nii.gz: 4 voxels\n'), ('stdout', 'a\nb\n')]


def test_no_record_of_changed_sources(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(execute, 'provenance', lambda: {'commit': '0123456789ab-dirty'})
    monkeypatch.setattr(execute, 'execute', lambda *_, **__: pytest.fail('a notebook was executed'))
    assert execute.main([]) == 2
    assert 'commit them first' in capsys.readouterr().err


def test_a_notebook_that_is_not_there_is_named(capsys):
    assert execute.main(['notebooks/6_none.py', '--no-record']) == 2
    assert 'there is no notebooks/6_none.py' in capsys.readouterr().err


def test_table_of_times():
    record = {'notebooks': {'1_one': {'seconds': 61.4, 'processor_seconds': 99.6}}}
    assert notebooks_table(record).splitlines()[-1] == '| `1_one` | 61 | 100 |'
