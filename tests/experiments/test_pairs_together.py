"""Timing pairs together: every pair twice for each number, scored, with a record."""

import json
import types

import numpy as np
import pytest

from experiments.speed import pairs_together


def test_every_pair_is_registered_twice_for_each_number_and_scored(tmp_path, monkeypatch):
    seen = []

    def register(fixed, moving):
        seen.append(fixed.name)
        # As good as can be for the first heart, and without any overlap for the second.
        return types.SimpleNamespace(moved_labels=fixed.labels * fixed.name.startswith('heart 0'))

    monkeypatch.setattr(pairs_together, 'register_volumes', register)
    out = tmp_path / 'record.json'
    assert pairs_together.main(['--shape', '16', '16', '8', '--pairs=2', '--together', '1', '2', f'--out={out}']) == 0
    record = json.loads(out.read_text())
    assert len(seen) == 8 and record['pairs'] == 2 and record['shape'] == [16, 16, 8]
    assert [row['together'] for row in record['rows']] == [1, 2]
    assert all(row['dsc'] == pytest.approx(0.5) and row['seconds_a_pair'] >= 0 for row in record['rows'])
    assert {'command', 'commit', 'machine'} <= set(record)


def test_a_pair_is_a_heart_at_rest_and_contracted():
    fixed, moving = pairs_together.heart_pair(0, (16, 16, 8))
    assert fixed.image.shape == moving.image.shape == (16, 16, 8) and not np.array_equal(fixed.image, moving.image)
    # The left ventricle's cavity is smallest at the end of systole.
    assert 0 < np.sum(fixed.labels == 3) < np.sum(moving.labels == 3)


def test_no_pairs_are_refused(tmp_path, capsys):
    assert pairs_together.main(['--pairs=0', f'--out={tmp_path}/record.json']) == 2
    assert '--pairs is 0' in capsys.readouterr().err
