"""Time the full-size forward pass and the quick start's training step on this machine, and write a record.

    python -m experiments.speed.time_steps --out=experiments/results/time_cpu.json

Times are medians over runs after a first call that is reported apart; every run ends with a synchronisation.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from autofuse_jax.configs import cardiac_unsup, quickstart
from autofuse_jax.errors import run_command
from autofuse_jax.files import write_json
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.sharding import make_mesh, put_batch, replicated
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.step import compile_train_step
from experiments.record_parser import record_parser

CARDIAC_SHAPE = (128, 128, 32)


def measure(run: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Time a function.

    Args:
        run: Returns arrays, on which the clock waits.
        repeats: Timed runs after the first.

    Returns:
        Seconds: 'first' (with compilation), 'median', 'minimum', 'maximum', and the number of 'repeats'.
    """
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - started)
    first, *later = times
    return {
        'first': round(first, 3),
        'median': round(statistics.median(later), 6),
        'minimum': round(min(later), 6),
        'maximum': round(max(later), 6),
        'repeats': repeats,
    }


def time_forward(repeats: int) -> dict[str, Any]:
    """Time mean-field inference of the paper's unsupervised network at 128 x 128 x 32."""
    config = cardiac_unsup.get_config()
    method = make_method(config.method, config.model.to_dict(), config.loss.to_dict())
    params = jax.jit(lambda key: method.init(key, CARDIAC_SHAPE))(jax.random.key(0))
    fixed, moving = (jax.random.uniform(jax.random.key(seed), (1, *CARDIAC_SHAPE, 1), jnp.float32) for seed in (1, 2))
    predict = jax.jit(lambda p, f, m: method.predict(p, f, m, jax.random.key(0)).displacement)
    return measure(lambda: predict(params, fixed, moving), repeats)


def time_quickstart_step(folder: Path, repeats: int) -> dict[str, Any]:
    """Time a training step of configs/quickstart.py on its own data."""
    config = quickstart.get_config()
    config.training.devices = 1
    experiment = Experiment(config, folder)
    data = experiment.training_data()
    phase = experiment.phases[0]
    data.start(phase)
    mesh = make_mesh(1)
    batch = put_batch(data.next(), mesh)
    step = compile_train_step(experiment.method.objectives(phase.name), experiment.optimizer, mesh)
    state = experiment.create_state(replicated(mesh))

    def run() -> Any:
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    return measure(run, repeats)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--repeats', type=int, default=7)
    options = parser.parse_args(arguments)

    def command() -> int:
        with tempfile.TemporaryDirectory() as folder:
            record = provenance() | {
                'seconds': {
                    'forward, unsupervised AutoFuse, 16 channels, 128 x 128 x 32': time_forward(options.repeats),
                    'training step, configs/quickstart.py': time_quickstart_step(Path(folder), options.repeats),
                },
            }
        write_json(options.out, record)
        for name, seconds in record['seconds'].items():
            print(f'{name}: median {seconds["median"]:.3f} s (first call {seconds["first"]:.1f} s)')
        return 0

    return run_command(command)


if __name__ == '__main__':
    sys.exit(main())
