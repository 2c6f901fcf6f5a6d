"""A training folder and released weights score like the report after training."""

import json

import jax
import pytest

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_scores import score_pair
from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.evaluation.runs import Sources
from autofuse_jax.porting.convert import flatten
from autofuse_jax.training import checkpoints, network_runs
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.network_runs import open_network, open_weights
from autofuse_jax.training.state import TrainState
from autofuse_jax.weights.released import Description, write_released
from tests.quick import random_params
from tests.tiny import tiny_config


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A work folder with random parameters as its best, its data, and the experiment."""
    workdir, data = (tmp_path_factory.mktemp(name) for name in ('workdir', 'data'))
    experiment = Experiment(tiny_config(data), workdir)
    params = random_params(experiment.state_structure().params)
    state = TrainState(step=7, params=params, optimizer={}, key=jax.random.key(0))
    checkpoints.save_best(workdir, state, {'train_seconds': 0.0})
    (workdir / 'config.json').write_text(json.dumps(experiment.resolved))
    return workdir, data, experiment, params


@pytest.fixture(scope='module')
def reported(trained):
    """What the report after training would say."""
    _, _, experiment, params = trained
    return experiment.score(experiment.predictor('test'), params)


@pytest.mark.parametrize('kind', ['workdir', 'weights'])
def test_scores_are_those_of_the_report(trained, reported, kind, tmp_path):
    workdir, data, experiment, params = trained
    if kind == 'workdir':
        run = open_network(workdir, 'run', Sources(data=data))
        assert 'step 7' in run.notes[0]
    else:
        model = experiment.config.model.to_dict()
        write_released(tmp_path / 'params.npz', flatten(jax.device_get(params)), Description('autofuse', model))
        run = open_network(tmp_path / 'params.npz', 'run', Sources(data=data))
    assert [case.name for case in run.cases] == [record['pair'] for record in reported]
    assert [case.group for case in run.cases] == [record['subject'] for record in reported]
    for case, record in zip(run.cases[:1], reported, strict=False):
        scores = score_pair(case.load(), PROTOCOLS['default'])
        for name in ('dsc_before', 'dsc_after', 'dsc_after_per_label', 'njd_percent', 'sdlogj'):
            assert scores[name] == pytest.approx(record[name], rel=1e-4, nan_ok=True), name
        assert scores['seconds'] > 0 and scores['hd95_mm_after'] > 0
    assert run.classes[1] == experiment.manifest.classes[1]


@pytest.mark.parametrize(
    ('spacing', 'grid'),
    [
        (None, (32, 32, 16)),
        ([3.0, 3.0, 6.0], (32, 32, 16)),
        ([6.0, 6.0, 6.0], (16, 16, 16)),
        ([6.1, 2.9, 6.0], (16, 48, 16)),
    ],
)
def test_weights_see_voxels_as_large_as_in_training(trained, spacing, grid, tmp_path, monkeypatch):
    """As the run that they come from does, whose data.grid may be coarser than the data: here 3 x 3 x 6 mm."""
    _, data, experiment, params = trained
    stores = []

    def store(manifest, shape, cache_gib):
        stores.append(shape)
        return FrameStore(manifest, shape, cache_gib)

    monkeypatch.setattr(network_runs, 'FrameStore', store)
    description = Description('autofuse', experiment.config.model.to_dict(), spacing_mm=spacing)
    write_released(tmp_path / 'params.npz', flatten(jax.device_get(params)), description)
    open_weights(tmp_path / 'params.npz', 'run', Sources(data=data))
    assert stores == [grid]


def test_weights_need_data(tmp_path):
    with pytest.raises(UserError, match='no data to register.*add --data'):
        open_weights(tmp_path / 'params.npz', 'run', Sources())


@pytest.mark.parametrize(('content', 'words'), [('{', 'is no config: it is no JSON'), ('[]', 'is no config')])
def test_damaged_config_is_named(tmp_path, content, words):
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(UserError, match=f'config.json {words}'):
        open_network(tmp_path, 'run', Sources())
