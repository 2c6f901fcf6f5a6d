"""The run for a machine with an accelerator: what it does at which size, and its rehearsal on a CPU."""

import json
import os
import subprocess
import sys

import pytest

from autofuse_jax.data.open_dataset import open_dataset
from autofuse_jax.weights.released import Description
from experiments.accelerator import packages, run
from experiments.accelerator.batch_size import choose, servable_phases
from experiments.accelerator.plan import FULL, REHEARSAL, measured_settings, parts_of, steps_that_fit
from experiments.weights.ship_weights import card
from tests.tiny import tiny_config

PHASES = {'phase_1': {'steps': 40_000, 'pairs': 'ed_es'}, 'phase_2': {'steps': 10_000, 'pairs': 'ed_es'}}
MEASURED = {'batch_size': 4, 'step_seconds': 0.1, 'phases': PHASES}


def candidate(size, rate):
    return {'batch_size': size, 'pairs_per_second': rate, 'step_seconds': size / rate}


@pytest.mark.parametrize(
    ('rates', 'chosen'),
    [
        ({1: 10.0, 2: 18.0, 4: 19.0, 8: 19.5}, 2),
        ({1: 10.0, 2: 18.0, 4: 30.0, 8: 50.0}, 8),
        ({1: 10.0, 2: 9.0}, 1),
        ({8: 19.0, 1: 18.9}, 1),
    ],
)
def test_the_smallest_batch_of_nearly_the_best_throughput_is_chosen(rates, chosen):
    assert choose([candidate(*one) for one in rates.items()])['batch_size'] == chosen


def test_a_batch_that_was_not_run_is_not_chosen():
    assert choose([{'batch_size': 1, 'not_run': 'too large'}]) is None
    assert choose([candidate(1, 3.0), {'batch_size': 2, 'not_run': 'too large'}])['batch_size'] == 1


def test_phases_are_shortened_alike_and_never_lengthened():
    steps = {'phase_1': 40_000, 'phase_2': 10_000}
    assert steps_that_fit(steps, 8.0, 0.1) == {'phase_1': 3_264, 'phase_2': 816}
    assert steps_that_fit(steps, 1e6, 0.1) == steps
    assert steps_that_fit(steps, 1e-6, 0.1) == {'phase_1': 1, 'phase_2': 1}


def test_what_was_measured_sets_batch_steps_and_pairs():
    settings = measured_settings(MEASURED, 8.0)
    assert settings['training.batch_size'] == 4 and settings['phases.phase_1.steps'] == 3_264
    assert settings['phases.phase_2.pairs'] == 'ed_es' and settings['training.validate_every'] == 816
    assert measured_settings(None, 8.0) == {}
    pairs = {'phases.phase_1.pairs': 'ed_es', 'phases.phase_2.pairs': 'ed_es'}
    assert measured_settings(MEASURED | {'batch_size': None}, 8.0) == pairs


def test_pairs_that_the_data_has_not_become_ed_and_es(tmp_path):
    """As where only the two labelled frames of each patient are there."""
    config = tiny_config(tmp_path / 'all')
    assert servable_phases(config)['phase_1'] == {'steps': 4, 'pairs': 'semi'}
    config = tiny_config(tmp_path / 'two', data__phantom__frames=2)
    assert {name: phase['pairs'] for name, phase in servable_phases(config).items()} == dict.fromkeys(PHASES, 'ed_es')


def commands(folder, name, scale=FULL, minutes=9.5, **options):
    options = {'data': folder / 'data', 'training_minutes': 8.0} | options
    (part,) = (one for one in parts_of(scale, folder, folder / 'work', **options) if one.name == name)
    return part.commands(minutes)


def test_training_is_full_size_and_uses_what_was_measured_even_in_part(tmp_path):
    (tmp_path / 'partial_batch_size.json').write_text(json.dumps(MEASURED))
    (command,) = commands(tmp_path, 'training', more=['--config.seed=3'])
    module, workdir, config, root = command[2:6]
    assert (module, config) == ('autofuse_jax.main', '--config=configs/cardiac_semi.py')
    assert workdir == f'--workdir={tmp_path / "work" / "training"}'
    assert root == f'--config.data.root={tmp_path / "data"}'
    for wanted in ('training.precision=bfloat16', 'training.batch_size=4', 'phases.phase_2.steps=816'):
        assert f'--config.{wanted}' in command
    assert '--config.training.max_minutes=8.0' in command and command[-1] == '--config.seed=3'
    assert commands(tmp_path, 'evaluation') == [[*command, '--mode=evaluate']]


def test_training_that_evaluated_is_not_evaluated_again_until_it_goes_on(tmp_path):
    result = tmp_path / 'work' / 'training' / 'evaluation_validation' / 'result.json'
    result.parent.mkdir(parents=True)
    result.write_text('{"training_minutes": 6.0}')
    assert commands(tmp_path, 'evaluation') == []
    assert '--processor-hours=0.10' in commands(tmp_path, 'weights')[0]
    commands(tmp_path, 'training')
    assert not result.exists() and 'autofuse_jax.port_weights' in commands(tmp_path, 'weights')[0]


def test_both_sizes_are_timed_beside_pytorch(tmp_path):
    found = [' '.join(commands(tmp_path, f'benchmark_{name}')[0]) for name in ('cardiac', 'brain')]
    for command, size in zip(found, ('128x128x32', '144x192x160'), strict=True):
        assert f'--sizes={size}' in command and '--compile' in command and '--official=' in command


def test_a_rehearsal_draws_its_own_data_unless_some_is_named(tmp_path):
    (command,) = commands(tmp_path, 'training', REHEARSAL, data=None)
    assert '--config.data.source=phantom' in command and not any('bfloat16' in argument for argument in command)
    (command,) = commands(tmp_path, 'training', REHEARSAL)
    assert '--config.data.source=phantom' not in command


def test_only_packages_that_are_missing_are_installed(tmp_path):
    for name in ('numpy-9.9-py3-none-any.whl', 'no_such_thing-1.0-py3-none-any.whl'):
        (tmp_path / name).write_bytes(b'')
    assert [wheel.name.split('-')[0] for wheel in packages.wheels_to_install(tmp_path, sys.path)] == ['no_such_thing']
    assert packages.missing_packages(['ml-collections', 'No.Such_thing'], sys.path) == ['No.Such_thing']
    assert {'jax', 'orbax-checkpoint', 'ml_collections'} <= set(packages.required_packages())


def test_a_wheel_that_cannot_be_installed_and_a_package_that_is_nowhere_are_told(tmp_path, monkeypatch):
    (tmp_path / 'no_such_thing-1.0-py3-none-any.whl').write_bytes(b'')
    with pytest.raises(packages.UserError, match='pip cannot install from'):
        packages.install_missing(tmp_path, tmp_path / 'packages')
    monkeypatch.setattr(packages, 'required_packages', lambda: ['jax', 'no-such-thing'])
    with pytest.raises(packages.UserError, match='not installed: no-such-thing.*--wheels=DIR'):
        packages.install_missing(None, tmp_path / 'packages')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], 'no data is named'),
        (['--data=absent'], 'absent has no manifest.json'),
        (['--rehearse', '--wheels=absent'], 'absent is no folder'),
        (['--rehearse', '--minutes=0'], '--minutes is 0.0'),
        (['--rehearse', '--only', 'dancing'], "--only is 'dancing'"),
        (['--rehearse', '--seed=3'], 'unknown arguments --seed=3'),
    ],
)
def test_wrong_arguments_are_told_before_anything_runs(tmp_path, capsys, arguments, words):
    assert run.main([str(tmp_path / 'out'), *arguments]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('devices', 'words'), [('1 x cpu', '0.5 processor hours'), ('1 x Some GPU', '0.5 hours on 1 x Some GPU')]
)
def test_a_card_says_whose_hours_it_counts(tmp_path, devices, words):
    mean = {'mean': 0.5}
    scores = {'pairs': 2, 'dsc_before': mean, 'dsc_after': mean, 'njd_percent': mean, 'sdlogj': mean, 'structures': {}}
    data = {'dataset': 'phantom', 'train_subjects': 2, 'labelled_train_subjects': 2, 'spacing_mm': [1.5, 1.5, 3.15]}
    record = {
        'config': {'method': 'autofuse', 'model': {'num_classes': 4}, 'inference': {}},
        'data': data | {'evaluated_subjects': ['a']},
        'machine': {'devices': devices},
        'scores': scores,
    }
    target = tmp_path / 'some.npz'
    target.write_bytes(b'')
    description = Description('autofuse', {'num_classes': 4})
    about = {'command': 'python -m autofuse_jax.main', 'commit': 'abc', 'steps': 10, 'parameters': 100}
    assert f'about {words} in all' in card(target, description, record | about, split='validation', hours=0.5)


@pytest.mark.slow
def test_the_rehearsal_does_everything_and_then_nothing_more(tmp_path):
    """On packed frames, as on the machine that it is meant for; a CPU takes minutes to compile the networks."""
    from experiments.accelerator import pack_frames

    open_dataset('phantom', tmp_path / 'frames', tiny_config(tmp_path).data.phantom.to_dict())
    assert pack_frames.main([f'--data={tmp_path / "frames"}', f'--out={tmp_path / "packed"}']) == 0
    out = tmp_path / 'out'
    command = ['sh', 'experiments/accelerator_run.sh', str(out), '--rehearse', f'--data={tmp_path / "packed"}']
    environment = os.environ | {'PYTHON': sys.executable}
    done = subprocess.run([*command, '--minutes=60'], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    batch, evaluation, brain = (
        json.loads((out / f'{name}.json').read_text()) for name in ('batch_size', 'evaluation', 'benchmark_brain')
    )
    assert [one['batch_size'] for one in batch['candidates']] == [1, 2] and batch['input']['frames_gib'] > 0
    assert evaluation['config']['training']['batch_size'] == batch['batch_size']
    last = json.loads((out / 'training_metrics.jsonl').read_text().splitlines()[-1])
    assert last['step'] == sum(phase['steps'] for phase in batch['phases'].values()) >= evaluation['steps'] > 0
    assert {'command', 'config', 'commit', 'machine', 'date', 'scores'} <= set(evaluation)
    assert evaluation['data']['settings']['images_stored_as'].startswith('uint8')
    assert (out / 'cardiac_accelerator.npz').is_file() and brain['results'][0]['pytorch']['seconds']['median'] > 0

    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count('skipped') == 7
