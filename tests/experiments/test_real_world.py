"""Cases of the real world: how exchanged images are compared, and what the table says of older code."""

import json

import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import DenseTransform
from experiments.real_world import run
from experiments.real_world.cases import Case, swap_difference
from experiments.real_world.outcomes import Outcome
from experiments.tables.real_world_table import other_contrasts_table, real_world_table


def outcome(shift):
    """Of a field that shifts by so many voxels of 2 mm along the first axis, and one that shifts back twice as far."""
    image = np.zeros((6, 6, 6), np.float32)
    image[1:5, 1:5, 1:5] = 100.0
    fixed = Volume(image, None, np.diag([2.0, 2.0, 2.0, 1.0]), 'box')
    fields = [np.zeros((6, 6, 6, 3), np.float32) + np.array([value, 0, 0], np.float32) for value in (shift, -2 * shift)]
    # Where nothing is shown, nothing is compared.
    fields[0][0] = 50.0
    forward, inverse = (DenseTransform(field, fixed.affine) for field in fields)
    return Outcome(fixed, forward, inverse, None, 'good')


def test_exchanged_images_are_compared_by_the_inverse_where_something_is_shown():
    apart = swap_difference(outcome(1.5), outcome(-0.75))
    np.testing.assert_allclose(list(apart.values()), 0.0, atol=1e-6)
    apart = swap_difference(outcome(1.5), outcome(0.0))
    np.testing.assert_allclose([apart['mean_voxels'], apart['p95_voxels']], 1.5, atol=1e-6)


def test_cases_that_others_are_counted_from_are_run_before_them(tmp_path, monkeypatch):
    images = outcome(0.0).fixed, outcome(0.0).fixed
    cases = [
        Case('one contrast', 'a', lambda: images, lambda result: {'dsc': 70.0}, {'dsc': 60.0}),
        Case('one contrast', 'b', lambda: images, lambda result: {'dsc': 50.0}, {'dsc': 60.0}),
        Case('other contrasts', 'c', lambda: images, lambda result: {'dsc': 69.0}, {'dsc': 2.0}, reference='a'),
    ]
    monkeypatch.setattr(run, 'all_cases', lambda _: iter(cases))
    monkeypatch.setattr(run, 'register_here', lambda *_: outcome(0.0))
    monkeypatch.setattr(run, 'enable_compilation_cache', lambda: None)
    run.main([f'--data={tmp_path}', '--only=contrasts', f'--out={tmp_path / "record.json"}'])
    done = json.loads((tmp_path / 'record.json').read_text())['cases']
    assert {key: entry['holds'] for key, entry in done.items()} == {'one contrast: a': True, 'other contrasts: c': True}
    assert done['other contrasts: c']['wanted'] == {'dsc': 68.0}
    # The record is ours: SyN would add its cases to it.
    with pytest.raises(UserError, match=r"holds cases of 'python -m experiments.real_world.run'.*--syn=mi'"):
        run.main([f'--data={tmp_path}', '--syn=mi', f'--out={tmp_path / "record.json"}'])


def test_the_table_says_what_older_code_came_to_and_what_it_refused():
    entry = {'values': {'dsc': 71.66}, 'wanted': {'dsc': 70.0}, 'verdict': 'good', 'holds': True}
    record = {'cases': dict.fromkeys(('one: a', 'one: b', 'one: c'), entry)}
    before = {
        'one: a': {'values': {'dsc': 1.7}, 'verdict': 'bad', 'holds': False},
        'one: b': {'error': 'error: the mask holds fractions. Expected: whole numbers', 'holds': False},
    }
    rows = real_world_table(record, {'cases': before}).splitlines()[2:]
    assert [row.split(' | ')[2] for row in rows] == [
        'DSC 1.7 %, verdict look',
        'refused: the mask holds fractions',
        '–',
    ]
    assert all('| DSC 71.7 % | at least DSC 70.0 % | good | yes |' in row for row in rows)


def test_contrasts_stand_beside_those_of_syn():
    def entry(dsc):
        return {'values': {'dsc': dsc, 'njd_percent': 0.0125}}

    record = {'cases': {'other contrasts: inverted': entry(68.74), 'other contrasts: negative': entry(71.0)}}
    syn = {'cases': {'other contrasts: inverted': entry(60.0)}}
    assert other_contrasts_table(record, syn).splitlines()[2:] == ['| inverted | 68.7 | 60.0 | 0.013 | 0.013 |']
