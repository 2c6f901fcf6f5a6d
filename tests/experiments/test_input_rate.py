"""How long devices of given speeds wait for the input pipeline."""

import json

import pytest

from autofuse_jax.training import training_data
from autofuse_jax.training.loop import STEPS_AHEAD
from experiments.speed import input_rate
from experiments.speed.input_rate import SimulatedDevice
from experiments.tables.speed_tables import input_table
from tests.tiny import TINY


class Clock:
    """A clock that goes on only when someone waits."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(
    ('read', 'step', 'share'),
    [
        # The first batch is waited for whole, the 49 others but for the step before.
        (0.03, 0.01, (0.03 + 49 * 0.02) / (50 * 0.03 + 0.01)),
        # Only the first is waited for.
        (0.01, 0.03, 0.01 / (0.01 + 50 * 0.03)),
        (0.0, 0.02, 0.0),
    ],
)
def test_a_device_waits_for_what_is_not_ready(read, step, share):
    clock = Clock()
    device = SimulatedDevice(step, clock=clock, sleep=clock.wait)
    for _ in range(50):
        clock.wait(read)
        device.step()
    assert device.idle_share == pytest.approx(share, abs=1e-9)


def test_the_loop_stays_two_steps_ahead():
    clock = Clock()
    device = SimulatedDevice(1.0, clock=clock, sleep=clock.wait)
    handed = []
    for _ in range(5):
        device.step()
        handed.append(clock.now - 100.0)
    assert handed == pytest.approx([0.0, 0.0, 1.0, 2.0, 3.0])


def test_one_thread_a_core_reads_unless_another_number_is_asked_for(monkeypatch):
    for cores, threads in ((1, 1), (8, 8), (200, training_data.MOST_THREADS)):
        monkeypatch.setattr(training_data, 'available_cores', lambda cores=cores: cores)
        assert training_data.reading_threads(0) == threads
        assert training_data.reading_threads(3) == 3


def test_the_pipeline_of_a_config_is_measured(tmp_path):
    config = tmp_path / 'tiny.py'
    config.write_text(
        'from configs import default\n\n\ndef get_config():\n    config = default.get_config()\n'
        f'    config.update_from_flattened_dict({TINY!r})\n    return config\n'
    )
    out = tmp_path / 'record.json'
    # As many batches as a device may be handed ahead of time: the second would be waited for longer than a test lasts.
    arguments = [f'--batches={STEPS_AHEAD}', '--step-seconds', '0.001', '5e3', f'--out={out}']
    assert input_rate.main([f'{config}={tmp_path / "phantom"}', *arguments]) == 0
    record = json.loads(out.read_text())
    assert [found['frames'] for found in record['results']] == [input_rate.AS_CONFIGURED, input_rate.READ_AGAIN]
    for found in record['results']:
        assert found['shape'] == [32, 32, 16] and found['seconds'] > 0
        fast, slow = found['idle']
        assert 0 <= slow['share'] < 1e-3 and 0 < fast['share'] < 1
    assert record['results'][1]['cache_gib'] == 0
    assert '32 x 32 x 16 | read each time' in input_table(record)
    assert '32 x 32 x 16 | kept in memory' in out.with_suffix('.md').read_text()


def test_nothing_to_measure_is_an_error(tmp_path, capsys):
    assert input_rate.main(['configs/quickstart.py', '--batches=0', f'--out={tmp_path / "x.json"}']) == 2
    assert '--batches' in capsys.readouterr().err
