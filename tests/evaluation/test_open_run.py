"""What a path is, and what its run is called."""

import json
import math
from pathlib import Path

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation import open_run as opening
from autofuse_jax.evaluation.open_run import run_names
from autofuse_jax.evaluation.protocol import DEFAULT
from autofuse_jax.evaluation.runs import Sources, common_pairs


def names(*paths, given=None):
    return run_names([Path(path) for path in paths], given)


def open_run(path, name, sources):
    return opening.open_run(path, name, sources, lambda path, name, sources: ('network', path, name))


def test_names_are_the_shortest_ends_that_differ():
    assert names('/runs/affine', '/runs/syn') == ['affine', 'syn']
    assert names('/a/run', '/b/run', '/b/other') == ['a_run', 'b_run', 'b_other']
    assert names('/weights/params.npz') == ['params']


def test_given_names_count():
    assert names('/a', '/b', given=['first', 'second one']) == ['first', 'second one']
    with pytest.raises(UserError, match='1 names for 2 runs'):
        names('/a', '/b', given=['first'])
    with pytest.raises(UserError, match='two runs are called first'):
        names('/a', '/b', given=['first', 'first'])
    for wrong in ('up/down', '..', ''):
        with pytest.raises(UserError, match='cannot be the name of a run'):
            names('/a', given=[wrong])


def test_same_run_twice():
    with pytest.raises(UserError, match='two runs are called run'):
        names('/a/run', '/a/run')


def test_paths_that_are_no_run(tmp_path):
    (tmp_path / 'moved.nii.gz').write_bytes(b'')
    with pytest.raises(UserError, match='moved.nii.gz is a file. Expected: a folder of results of'):
        open_run(tmp_path / 'moved.nii.gz', 'run', Sources())
    with pytest.raises(UserError, match='there is no folder .*nowhere'):
        open_run(tmp_path / 'nowhere', 'run', Sources())
    with pytest.raises(UserError, match='no pairs were found in .*pairs.json'):
        open_run(tmp_path, 'run', Sources())


def test_training_folders_and_weights_are_opened_as_networks(tmp_path):
    (tmp_path / 'params.npz').write_bytes(b'')
    (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
    (tmp_path / 'run' / 'config.json').write_text('{}')
    for path in (tmp_path / 'params.npz', tmp_path / 'run'):
        assert open_run(path, 'mine', Sources()) == ('network', path, 'mine')


def test_damaged_scores_are_named(tmp_path):
    for content in ('{', '{"pairs": []}', '[]', '{"pairs": [{}], "classes": {}}'):
        (tmp_path / 'pairs.json').write_text(content)
        with pytest.raises(UserError, match='pairs.json holds no scores'):
            open_run(tmp_path, 'run', Sources())
    (tmp_path / 'pairs.json').write_text('{"pairs": [], "classes": {}}')
    with pytest.raises(UserError, match='pairs.json holds no pairs'):
        open_run(tmp_path, 'run', Sources())


def test_scores_of_training_classes_are_read(tmp_path):
    record = {'pair': 'a_to_b', 'dsc_after': 0.5, 'segmentation_dsc_per_training_class': {'1': 0.75, '2': None}}
    (tmp_path / 'pairs.json').write_text(json.dumps({'pairs': [record], 'classes': {}}))
    (read,) = open_run(tmp_path, 'run', Sources()).records
    per_class = read['segmentation_dsc_per_training_class']
    assert per_class[1] == 0.75 and math.isnan(per_class[2])


def test_damage_in_protocols_and_further_scores_is_named(tmp_path):
    def opened(protocol, **scores):
        content = {'pairs': [{'pair': 'a', 'dsc_after': 0.5} | scores], 'classes': {}, 'protocol': protocol}
        (tmp_path / 'pairs.json').write_text(json.dumps(content))
        return open_run(tmp_path, 'run', Sources())

    protocol = DEFAULT.as_record()
    assert opened(protocol).protocol == protocol
    # Of an earlier version, which had fewer fields, and measured everything.
    earlier = opened({'name': 'default', 'tre': {'interpolation': 'cubic'}}).protocol
    assert earlier['surface'] == protocol['surface'] and earlier['tre'] == {**protocol['tre'], 'interpolation': 'cubic'}
    assert 'quantities' not in earlier
    for damaged in ({'surface': None}, {'folding': {'voxels': 'x'}}, {'quantities': 7}, {'name': 1.5}):
        with pytest.raises(UserError, match='pairs.json'):
            opened(protocol | damaged)
    for damaged in ({'ndv_percent': 'x'}, {'gate_means': None}, {'gate_means': {'gate_2': 'x'}}):
        with pytest.raises(UserError, match='pairs.json holds no scores'):
            opened(protocol, **damaged)


def test_common_pairs():
    runs = {'one': [{'pair': 'b'}, {'pair': 'a'}, {'pair': 'c'}], 'two': [{'pair': 'c'}, {'pair': 'b'}]}
    assert common_pairs(runs) == ['b', 'c']
    with pytest.raises(
        UserError,
        match='no pair in common.*one: 3 pairs, such as b; two: 2 pairs, such as c; three: 1 pairs, such as x',
    ):
        common_pairs(runs | {'three': [{'pair': 'x'}]})
    with pytest.raises(UserError, match='the run twice has the pair b twice'):
        common_pairs({'twice': [{'pair': 'b'}, {'pair': 'b'}]})
