"""What tests of the training loop look at in a run: its trainer, its rows, its last state."""

from pathlib import Path

import jax

from autofuse_jax.training import checkpoints
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.loop import Trainer
from autofuse_jax.training.metrics_log import read_rows

TOTAL_STEPS = 9
# Depends on how busy the machine is, not on the run.
NOT_REPRODUCIBLE = ('pairs_per_second',)


def trainer_of(config, workdir: Path) -> Trainer:
    """Made as `train_and_evaluate` makes it, so that what was compiled there is found in the cache."""
    experiment = Experiment(config, workdir)
    with jax.set_mesh(experiment.mesh):
        return Trainer(experiment)


def loss_curve(workdir: Path) -> list[dict]:
    """Rows of a run, without what depends on the machine."""
    rows = read_rows(workdir / 'metrics.jsonl')
    return [{name: value for name, value in row.items() if name not in NOT_REPRODUCIBLE} for row in rows]


def final_state(config, workdir: Path):
    """The latest state of a run and the record that belongs to it."""
    experiment = Experiment(config, workdir)
    layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state, record = checkpoints.restore(workdir, experiment.state_structure(), layout)
    return jax.device_get(state), record
