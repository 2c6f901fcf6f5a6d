"""The table of parameters, work, time and memory, with a method that is one convolution."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from autofuse_jax.errors import INTERRUPTED_STATUS, USER_ERROR_STATUS
from autofuse_jax.losses.one_field import RegistrationWeights
from autofuse_jax.methods.pair_method import registration_method
from autofuse_jax.methods.registry import METHODS, MethodKind
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.field_outputs import check_pair, of_displacement
from experiments.speed import complexity
from experiments.speed.complexity import main, options_for, parse_sizes

SIDE = 16
# One kernel of 1 x 1 x 1 from two images to three components, with bias.
PARAMETERS = 2 * 3 + 3


class OneConvolution(nn.Module):
    """The smallest pair network."""

    @nn.compact
    def __call__(self, fixed, moving):
        """Map two images to a displacement."""
        check_pair(fixed, moving)
        return of_displacement(Conv3d(3, (1, 1, 1), name='conv')(jnp.concatenate([fixed, moving], -1)), moving)


@pytest.fixture(autouse=True)
def tiny_method(monkeypatch):
    kind = MethodKind(OneConvolution, RegistrationWeights, registration_method)
    monkeypatch.setitem(METHODS, 'tiny', kind)


def arguments(path, *others, sizes='16x16x16'):
    return [f'--out={path}', '--methods=tiny', f'--sizes={sizes}', *others]


def results_of(path):
    return json.loads(path.read_text())['results']


def test_counts_without_running(tmp_path, monkeypatch):
    monkeypatch.setattr(complexity, 'measure', lambda *_: pytest.fail('it was run'))
    path = tmp_path / 'record.json'
    assert main(arguments(path, '--no-time')) == 0
    record = json.loads(path.read_text())
    assert {'command', 'commit', 'machine', 'date', 'versions'} <= set(record)
    (found,) = record['results']
    assert (found['method'], found['size'], found['parameters']) == ('tiny', [SIDE] * 3, PARAMETERS)
    # Two operations for each weight and one for each bias, at every voxel.
    assert found['gflop_lowered'] == pytest.approx((2 * 6 + 3) * SIDE**3 / 1e9, abs=1e-6)
    assert 'seconds' not in found and found['compile_seconds'] >= 0
    table = path.with_suffix('.md').read_text()
    assert '## 16 x 16 x 16' in table and record['machine']['processor'] in table
    assert '| method | parameters (M) | GFLOPs | forward s | peak GiB |' in table
    assert '| tiny | 0.000 | 0.0 | – | 0.00 |' in table


def test_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    path = tmp_path / 'record.json'
    examined = []

    def prepare(name, size):
        if size in interrupted:
            raise KeyboardInterrupt
        examined.append(size)
        return {'method': name, 'size': list(size), 'total_gib': 1.0}, lambda: jnp.zeros(())

    monkeypatch.setattr(complexity, 'prepare', prepare)
    both = arguments(path, sizes='16x16x16,32x16x16')
    interrupted = [(32, 16, 16)]
    assert main(both) == INTERRUPTED_STATUS
    assert [found['size'] for found in results_of(path)] == [[16, 16, 16]]
    interrupted = []
    for again in (both, both, [*both, '--no-time']):
        assert main(again) == 0
    assert examined == [(16, 16, 16), (32, 16, 16)]
    assert [found['size'] for found in results_of(path)] == [[16, 16, 16], [32, 16, 16]]


def test_several_are_compiled_at_a_time_and_timed_one_after_the_other(tmp_path):
    path = tmp_path / 'record.json'
    assert main(arguments(path, '--jobs=3', '--repeats=1', sizes='16x16x16,32x16x16,16x32x16,16x16x32')) == 0
    assert [found['size'] for found in results_of(path)] == [[16, 16, 16], [16, 16, 32], [16, 32, 16], [32, 16, 16]]
    assert all(found['seconds']['median'] > 0 for found in results_of(path))


def test_results_of_other_sources_are_made_anew(tmp_path, monkeypatch):
    path = tmp_path / 'record.json'
    main(arguments(path, '--no-time', sizes='16x16x16,32x16x16'))
    record = json.loads(path.read_text())
    assert len(record['results']) == 2
    monkeypatch.setattr(complexity, 'provenance', lambda: record | {'commit': 'another'})
    main(arguments(path, '--no-time'))
    assert [found['size'] for found in results_of(path)] == [[16, 16, 16]]


def test_counted_only_is_not_enough_for_times(tmp_path):
    path = tmp_path / 'record.json'
    main(arguments(path, '--no-time'))
    main(arguments(path, '--repeats=1'))
    assert results_of(path)[0]['seconds']['repeats'] == 1


def test_what_cannot_run_is_listed_with_the_reason(tmp_path, monkeypatch):
    path = tmp_path / 'record.json'
    monkeypatch.setattr(complexity, 'memory_gib', lambda: 4.0)
    monkeypatch.setattr(complexity, 'analyse', lambda *_: (None, {'total_gib': 5.5, 'gflop_lowered': 1234.5}))
    assert main(arguments(path, sizes='15x16x16,16x16x16')) == 0
    refused, large = results_of(path)
    assert 'multiples of 16' in refused['cannot_run'] and 'total_gib' not in refused
    assert large['not_timed'] == 'needs 5.5 GiB, the machine has 4.0'
    table = path.with_suffix('.md').read_text()
    assert '| tiny | – | – | – | – |' in table and '| tiny | 0.000 | 1,234.5 | – | 5.50 |' in table
    assert '- tiny cannot run: images have size (15, 16, 16)' in table and '- tiny not timed: needs 5.5' in table


def test_programs_that_do_not_fit_the_device_are_listed(tmp_path, monkeypatch):
    def fail(*_):
        raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

    monkeypatch.setattr(complexity, 'measure', fail)
    path = tmp_path / 'record.json'
    assert main(arguments(path)) == 0
    assert 'RESOURCE_EXHAUSTED' in results_of(path)[0]['not_timed']


@pytest.mark.parametrize('name', sorted(METHODS))
def test_every_method_can_be_made_with_the_options_of_a_size(name):
    options = options_for(name, (144, 192, 160))
    method = complexity.make_method(name, options['model'], options['loss'])
    assert method.size in (None, (144, 192, 160))


def test_options_follow_the_size():
    options = {name: options_for(name, (128, 128, 32))['model'] for name in METHODS}
    for name in {'transmorph', 'transmatch'} & set(METHODS):
        assert options[name] == {'window': (4, 4, 2)}
    for name in {'dtn'} & set(METHODS):
        assert options[name] == {'size': (128, 128, 32)}
    assert options['autofuse'] == {}
    assert parse_sizes('128x128x32, 16x16x16') == [(128, 128, 32), (16, 16, 16)]


@pytest.mark.parametrize('wrong', ['--sizes=16x16', '--sizes=0x16x16', '--methods=unknown', '--repeats=0'])
def test_impossible_options_are_refused(tmp_path, wrong, capsys):
    assert main([*arguments(tmp_path / 'record.json'), wrong]) == USER_ERROR_STATUS
    assert wrong.split('=')[1] in capsys.readouterr().err
