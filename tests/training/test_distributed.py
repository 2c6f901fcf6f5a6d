"""Training in several processes: a missing one is told, and a killed run continues as if nothing had happened."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from autofuse_jax.main import main, parse
from autofuse_jax.porting.convert import flatten
from autofuse_jax.training import checkpoint_folders, checkpoints
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.metrics_log import read_rows
from tests.light import light_arguments, light_config

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = '--config=configs/quickstart.py'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def start(arguments: list[str], *, port: int, process: int, timeout: int, **environment) -> subprocess.Popen:
    """Start one of two processes with one simulated device each."""
    joining = ['--distributed', f'--coordinator=127.0.0.1:{port}', '--processes=2', f'--process={process}']
    return subprocess.Popen(
        [sys.executable, '-m', 'autofuse_jax.main', *arguments, *joining, f'--timeout={timeout}'],
        cwd=REPOSITORY,
        env=os.environ | {'JAX_NUM_CPU_DEVICES': '1'} | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def test_a_coordinator_that_does_not_answer_is_named(tmp_path):
    port = free_port()
    process = start([CONFIG, f'--workdir={tmp_path / "run"}'], port=port, process=1, timeout=2)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 2
    assert text.count('\n') == 1 and 'did not all answer within 2 s' in text
    assert f'process 1 of 2, coordinator 127.0.0.1:{port}' in text and '--timeout' in text
    assert not (tmp_path / 'run').exists()


def test_without_a_cluster_the_flags_are_asked_for(tmp_path):
    # A process of its own: whoever has asked for devices cannot join others any more.
    command = [sys.executable, '-m', 'autofuse_jax.main', CONFIG, f'--workdir={tmp_path / "run"}', '--distributed']
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert found.returncode == 2 and found.stderr.count('\n') == 1
    assert 'give --coordinator=HOST:PORT --processes=N --process=I' in found.stderr


def test_flags_of_a_cluster_need_distributed(capsys):
    assert main([CONFIG, '--processes=2', '--process=0']) == 2
    assert '--processes, --process without --distributed' in capsys.readouterr().err


def test_what_is_not_given_is_left_to_the_cluster():
    given = parse([CONFIG, '--distributed', '--process=1']).join
    assert given == {'coordinator': None, 'processes': None, 'process': 1, 'timeout': 300}
    assert parse([CONFIG]).join is None


def run_both(workdir: Path, phantom: Path, kill_at: str = '') -> None:
    """Train in two processes, to the end or until the second prints a line and is killed."""
    port = free_port()
    arguments = [*light_arguments(phantom, workdir), '--config.training.batch_size=2', '--config.training.devices=0']
    both = [start(arguments, port=port, process=number, timeout=120) for number in (0, 1)]
    if kill_at:
        for line in both[1].stderr:
            if line.startswith(kill_at):
                break
        # The last checkpoint may still be on its way to the disk.
        time.sleep(1)
        both[1].send_signal(signal.SIGKILL)
        both[1].wait()
        # The other one waits for the lost one's numbers; a cluster would end it.
        both[0].kill()
        both[0].wait()
        return
    texts = [process.communicate(timeout=600)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts


@pytest.mark.slow
def test_a_killed_run_of_two_processes_ends_like_an_uninterrupted_one(tmp_path):
    phantom, whole, killed = (tmp_path / name for name in ('phantom', 'whole', 'killed'))
    run_both(whole, phantom)
    run_both(killed, phantom, kill_at='step 6/')
    assert 4 <= checkpoint_folders.latest_step(killed) < checkpoint_folders.latest_step(whole)
    run_both(killed, phantom)
    assert checkpoint_folders.latest_step(killed) == checkpoint_folders.latest_step(whole)
    arrays = [checkpoint_arrays(workdir) for workdir in (whole, killed)]
    assert arrays[0].keys() == arrays[1].keys() and len(arrays[0]) > 10
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], err_msg=name)
    losses = [
        [(row['step'], row['loss']) for row in read_rows(workdir / 'metrics.jsonl') if row['kind'] == 'train']
        for workdir in (whole, killed)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 5
    result = json.loads((killed / 'evaluation_test' / 'result.json').read_text())
    assert result['config']['training']['batch_size'] == 2


def checkpoint_arrays(workdir: Path) -> dict[str, np.ndarray]:
    """Return the parameters of the last step by name."""
    experiment = Experiment(light_config(workdir.parent / 'phantom'), workdir.parent / 'reading')
    layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state, _ = checkpoints.restore(workdir, experiment.state_structure(), layout)
    return flatten(jax.device_get(state.params))
