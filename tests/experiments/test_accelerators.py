"""Compiling for accelerators that are not at hand; the processor stands in for them."""

import importlib.util
import json

import jax
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from experiments.speed import accelerators
from experiments.speed.accelerator_targets import TARGETS, Target, devices_of
from experiments.speed.accelerators import FORWARD, STEP, Variant
from experiments.tables.speed_tables import accelerators_table

SIZE = (16, 16, 16)


@pytest.fixture
def processor(monkeypatch):
    """The processor in place of an accelerator, and a network that compiles fast."""
    monkeypatch.setattr(accelerators, 'TARGETS', {'cpu': Target('a processor', 'cpu', '')})
    monkeypatch.setattr(accelerators, 'devices_of', lambda target, number: jax.devices()[:number])
    method = make_method('voxelmorph_diff', {}, {})
    monkeypatch.setattr(accelerators, 'make_method', lambda *_, **__: method)


@pytest.mark.slow
def test_programs_are_compiled_once_each_and_kept(tmp_path, monkeypatch, processor):
    out = tmp_path / 'record.json'
    assert accelerators.main(['--targets=cpu', '--sizes=16x16x16', '--plain', f'--out={out}']) == 0
    forward, step = json.loads(out.read_text())['programs']
    assert (forward['program'], step['program']) == (FORWARD, STEP)
    # Parameters, their moments and the images are there at least.
    assert 0 < forward['gib'] < step['gib'] and 'estimate_gib' not in forward
    assert 0.2 < step['gib'] / step['estimate_gib'] < 5
    monkeypatch.setattr(accelerators, 'examine', lambda *_: pytest.fail('compiled again'))
    assert accelerators.main(['--targets=cpu', '--sizes=16x16x16', '--plain', f'--out={out}']) == 0


class Refusing:
    """A compiled step that no accelerator can hold."""

    def __init__(self, message):
        self.message = message

    def lower(self, *_):
        return self

    def compile(self, *_):
        raise jax.errors.JaxRuntimeError(self.message)


def test_what_does_not_fit_is_kept_with_what_it_would_take(monkeypatch, processor):
    message = 'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.10G of 15.75G hbm. Exceeded ...'
    monkeypatch.setattr(accelerators, 'compile_train_step', lambda *_: Refusing(message))
    found = accelerators.examine(accelerators.TARGETS['cpu'], SIZE, Variant(STEP))
    assert found['does_not_fit'] == '20.10 of 15.75 GiB' and found['gib'] == 20.1


def test_other_failures_of_a_compiler_are_not_taken_for_that(monkeypatch, processor):
    monkeypatch.setattr(accelerators, 'compile_train_step', lambda *_: Refusing('INTERNAL: no such convolution'))
    with pytest.raises(jax.errors.JaxRuntimeError, match='no such convolution'):
        accelerators.examine(accelerators.TARGETS['cpu'], SIZE, Variant(STEP))


def test_an_unknown_target_is_refused(tmp_path, capsys):
    assert accelerators.main(['--targets=h100,abacus', f'--out={tmp_path / "record.json"}']) == 2
    assert 'abacus' in capsys.readouterr().err


@pytest.mark.parametrize(('name', 'package'), [('v5e', 'libtpu'), ('h100', 'jax_cuda12_plugin')])
def test_a_compiler_that_is_not_installed_is_named(name, package):
    if importlib.util.find_spec(package):
        assert len(devices_of(TARGETS[name], 2)) == 2
        return
    with pytest.raises(UserError, match=TARGETS[name].name) as caught:
        devices_of(TARGETS[name], 1)
    assert 'pip install' in caught.value.fix


def test_what_pytorch_keeps_counts_each_piece_of_memory_once():
    torch = pytest.importorskip('torch')
    from experiments.speed.benchmark_torch import kept_bytes

    class Squares(torch.nn.Module):
        def __init__(self, repeats):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(4))
            self.repeats = repeats

        def forward(self, fixed, moving):
            flow = torch.cat([moving * self.scale[0]] * 3, dim=1)
            for _ in range(self.repeats):
                flow = flow.exp()  # Keeps its result, which the next one has for its argument.
            return flow, [flow, flow], moving * self.scale[1]

    one, three = (kept_bytes(lambda repeats=repeats: Squares(repeats), SIZE) for repeats in (1, 3))
    field = 4 * 3 * 16**3
    assert three - one == 2 * field
    assert one > 2 * field


def test_the_table_says_what_does_not_fit():
    programs = [
        {'target': 'h100', 'size': [8, 8, 8], 'program': STEP, 'precision': 'default', 'remat': 'none', 'depth': 1}
        | {'gib': 1.0, 'estimate_gib': 2.0},
        {'target': 'v5e', 'size': [8, 8, 8], 'program': STEP, 'precision': 'default', 'remat': 'none', 'depth': 1}
        | {'gib': 20.1, 'does_not_fit': '20.10 of 15.75 GiB'},
    ]
    table = accelerators_table({'programs': programs, 'official': [{'size': [8, 8, 8], 'kept_gib': 2.5}]})
    assert '| program | PyTorch, more than | estimate for GPUs | NVIDIA H100 | TPU v5e |' in table
    assert '| training step, 8 x 8 x 8 | 2.50 | 2.00 | 1.00 | 20.10 (too much) |' in table
