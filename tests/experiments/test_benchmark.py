"""The scripts that measure speed, memory and growth, on the smallest things they can be asked for."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.methods.registry import make_method
from experiments.agreement import device_agreement
from experiments.speed import (
    benchmark,
    benchmark_device,
    benchmark_programs,
    devices,
    profile_step,
    scaling,
    step_memory,
)
from experiments.speed.benchmark_programs import compiled_program, field_operations, in_turn
from experiments.tables.speed_tables import benchmark_table, devices_memory_table, devices_table, scaling_table
from tests.quick import hurried

SIZE = (16, 16, 16)


@pytest.fixture(autouse=True)
def little_to_measure(monkeypatch):
    """What the device can do at best is measured on less: here nobody wants the number."""
    for name, value in {'CPU_MATRIX': 128, 'IMAGES': (1, 16, 16, 4), 'COPIED': 2**12}.items():
        monkeypatch.setattr(benchmark_device, name, value)


def test_operations_are_timed_beside_pytorch(tmp_path):
    pytest.importorskip('torch')
    out = tmp_path / 'record.json'
    arguments = ['--sizes=16x16x16', '--only', 'warp', 'NCC', '--repeats=2', '--official=tests/torch_networks.py']
    assert benchmark.main([*arguments, f'--out={out}']) == 0
    record = json.loads(out.read_text())
    names = ['warp', 'warp, with derivative', 'NCC', 'NCC, with derivative']
    assert [found['name'] for found in record['results']] == names
    for found in record['results']:
        assert 0 < found['seconds']['minimum'] <= found['seconds']['median'] and found['gflop'] > 0
        ratio = found['pytorch']['ours_to_theirs']
        assert ratio['repeats'] == 2 and ratio['minimum'] > 0
    assert all(value > 0 for value in record['peaks']['default'].values())
    assert {'command', 'commit', 'machine', 'date'} <= set(record)
    assert all(name in out.with_suffix('.md').read_text() for name in names)
    assert benchmark_table(record).count('\n') == 1 + len(names)


def test_programs_are_compiled_several_at_a_time_in_each_precision(tmp_path, monkeypatch):
    """Of a network that compiles fast; what bfloat16 needs no CPU has."""
    method = make_method('voxelmorph_diff', {}, {})
    monkeypatch.setattr(benchmark_programs, 'make_method', lambda *_, **__: method)
    out = tmp_path / 'record.json'
    arguments = ['--sizes=16x16x16', '--only', 'AutoFuse, forward', '--precisions=default,float32', '--jobs=2']
    assert benchmark.main([*arguments, '--repeats=1', f'--out={out}']) == 0
    record = json.loads(out.read_text())
    assert [found['precision'] for found in record['results']] == ['default', 'float32']
    assert set(record['peaks']) == {'default', 'float32'}
    assert '| AutoFuse, forward, float32 |' in out.with_suffix('.md').read_text()


def test_what_asks_for_more_memory_than_there_is_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, 'memory_gib', lambda: 1e-6)
    monkeypatch.setattr(benchmark, 'time_in_turn', lambda *_: pytest.fail('it was run'))
    out = tmp_path / 'record.json'
    assert benchmark.main(['--sizes=16x16x16', '--only', 'NCC', '--repeats=1', f'--out={out}']) == 0
    record = json.loads(out.read_text())
    assert all('0.0 GiB' in found['not_timed'] and found['memory_gib'] > 0 for found in record['results'])
    assert '| NCC, 16 x 16 x 16 | – | – | – | – | 0.00 |' in benchmark_table(record)
    assert '| NCC | – | – |' in out.with_suffix('.md').read_text()


@pytest.mark.parametrize('works', [True, False])
def test_torch_compile_is_timed_where_it_works(tmp_path, monkeypatch, works):
    torch = pytest.importorskip('torch')
    from experiments.agreement import compare_with_pytorch

    def network(fixed, moving):
        return fixed - moving

    class Broken(torch.nn.Linear):
        def forward(self, *_):
            raise NotImplementedError('no such kernel\nand much more')

    method = make_method('voxelmorph_diff', {}, {})
    monkeypatch.setattr(benchmark_programs, 'make_method', lambda *_, **__: method)
    module = torch.nn.Linear(1, 1)
    module.forward = network
    monkeypatch.setattr(compare_with_pytorch, 'build', lambda _: (module, None))
    monkeypatch.setattr(torch, 'compile', lambda module: module if works else Broken(1, 1))
    out = tmp_path / 'record.json'
    arguments = ['--sizes=16x16x16', '--only', 'AutoFuse, forward', '--repeats=1', '--official=tests/torch_networks.py']
    assert benchmark.main([*arguments, '--compile', f'--out={out}']) == 0
    record = json.loads(out.read_text())
    (found,) = record['results']
    compiled, row = found['pytorch, torch.compile'], 'AutoFuse, forward beside `torch.compile`, 16 x 16 x 16'
    table = benchmark_table(record)
    assert found['pytorch']['seconds']['median'] > 0 and row in table
    if works:
        assert compiled['ours_to_theirs']['repeats'] == 1 and 'cannot' not in table
    else:
        assert compiled == {'cannot_run': 'NotImplementedError: no such kernel'} and '| cannot be compiled |' in table


def test_our_operations_are_those_of_pytorch():
    """Ratios mean something only where both sides compute the same."""
    torch = pytest.importorskip('torch')
    from experiments.speed import benchmark_torch

    rng = np.random.default_rng(0)
    image, other = rng.random((2, *SIZE), np.float32)
    velocity = rng.normal(size=(*SIZE, 3)).astype(np.float32)
    theirs = [torch.from_numpy(a)[None, None] for a in (image, other)]
    flow = torch.from_numpy(np.moveaxis(velocity, -1, 0).copy())[None]
    grid = benchmark_torch.identity_grid(SIZE, torch.device('cpu'))
    functions = {name: function for name, (function, _) in field_operations(SIZE).items()}
    warped = functions['warp'](jnp.asarray(image)[..., None], jnp.asarray(velocity))
    np.testing.assert_allclose(warped[..., 0], benchmark_torch.warp(theirs[0], flow, grid)[0, 0], atol=1e-4)
    integrated = functions['scaling and squaring'](jnp.asarray(velocity))
    np.testing.assert_allclose(
        np.moveaxis(np.asarray(integrated), -1, 0), benchmark_torch.integrate(flow, grid)[0], atol=1e-3
    )
    ncc = functions['NCC'](jnp.asarray(image)[..., None], jnp.asarray(other)[..., None])
    assert float(ncc) == pytest.approx(-float(benchmark_torch.negative_ncc(*theirs)), rel=1e-3)


def test_the_objective_takes_mean_and_variance_joined_as_the_authors_return_them():
    torch = pytest.importorskip('torch')
    from experiments.speed.benchmark_torch import objective

    flow, mean, log_variance = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 3, *SIZE))).float()
    fixed = torch.rand(1, 1, *SIZE)
    apart, joined = (
        objective(lambda fixed, moving, d=d: (flow, d, moving), fixed, fixed**2, 'default')
        for d in ([mean, log_variance], torch.cat([mean, log_variance], dim=1))
    )
    assert float(apart) == float(joined)
    swapped = objective(lambda fixed, moving: (flow, [log_variance, mean], moving), fixed, fixed**2, 'default')
    assert float(swapped) != float(apart)


def test_functions_are_timed_in_turn():
    calls = []
    times = in_turn({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, 2)
    assert calls == ['a', 'b'] * 3 and {name: len(values) for name, values in times.items()} == {'a': 2, 'b': 2}


def test_a_program_that_takes_its_state_can_be_run_again():
    function = jax.jit(lambda state, x: (state + x, x), donate_argnums=0)
    run, about = compiled_program(function, lambda: (jnp.zeros(4), jnp.ones(4)), True)
    run()
    run()
    assert about['memory_gib'] > 0


def test_unknown_networks_and_sizes_are_refused(tmp_path, capsys):
    for wrong, words in (
        ('--networks=voxelmorf', 'voxelmorf'),
        ('--sizes=16', '--sizes holds'),
        ('--repeats=0', 'repeats'),
        ('--jobs=0', 'jobs'),
        ('--precisions=default,half', 'holds half'),
        ('--precisions=bfloat16', "set training.precision='default'"),
    ):
        assert benchmark.main([wrong, f'--out={tmp_path / "record.json"}']) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / 'record.json').exists()


def row(series, factor, program, seconds, gib):
    return {
        'series': series,
        'factor': factor,
        'program': program,
        'size': [16, 16, 16 * factor],
        'pairs': 1,
        'seconds': {'median': seconds},
        'memory_gib': gib,
    }


def test_growth_is_the_slope_on_logarithmic_axes(tmp_path):
    rows = [
        row(series, factor, program, 0.1 * factor**2, factor)
        for series in ('volume', 'batch')
        for factor in (1, 2, 4)
        for program in (scaling.FORWARD, scaling.STEP)
    ]
    assert scaling.growth(rows, 'volume', scaling.STEP, 'seconds') == pytest.approx(2)
    assert scaling.growth(rows, 'batch', scaling.FORWARD, 'memory_gib') == pytest.approx(1)
    scaling.picture(tmp_path / 'growth.png', rows)
    assert (tmp_path / 'growth.png').stat().st_size > 1000
    names = [
        f'{p}, {s}, {q}'
        for p in (scaling.FORWARD, scaling.STEP)
        for s in ('volume', 'batch')
        for q in scaling.QUANTITIES
    ]
    table = scaling_table({'results': rows, 'exponents': dict.fromkeys(names, 1.5)})
    assert table.count('\n') == 1 + 2 * 4 and '1.60' in table and '1.50' in table


def test_the_distance_of_gradients_is_relative():
    one, other = {'a': np.array([3.0, 4.0]), 'b': np.zeros(2)}, {'a': np.array([3.0, 3.0]), 'b': np.array([0.0, 4.0])}
    assert devices._distance(one, other) == pytest.approx(np.sqrt(17 / 34))


def test_tables_of_devices():
    record = {
        'meshes': [{'devices': 4, 'depth': 2, 'loss_relative': 1e-7, 'gradient_relative': 2e-6}],
        'memory': [{'depth': 1, 'total_gib': 8.0}, {'depth': 2, 'total_gib': 4.0}],
    }
    assert '4, of which 2 share a volume | 1.0e-07 | 2.0e-06' in devices_table(record)
    assert '| 2 | 4.0 | 2.00' in devices_memory_table(record)


@pytest.mark.slow
def test_a_step_is_taken_apart(tmp_path):
    out = tmp_path / 'profile.json'
    assert profile_step.main(['--method=voxelmorph_diff', '--size=16x16x16', '--steps=2', f'--out={out}']) == 0
    step = json.loads(out.read_text())['step']
    kinds = {(found['pass'], found['kind']): found['seconds'] for found in step['kinds']}
    for which in (profile_step.FORWARD, profile_step.REVERSE):
        assert kinds[which, 'convolutions'] > 0
    assert 0 < step['busy_seconds'] < 2 * step['seconds']
    assert '| reverse pass | convolutions |' in out.with_suffix('.md').read_text()


@pytest.mark.parametrize(
    ('origin', 'operation', 'found'),
    [
        ('jit(step)/transpose(jvp(VM))/conv/conv_general_dilated', 'fusion.1', (profile_step.REVERSE, 'convolutions')),
        ('jit(step)/jvp(VM)/gather', 'x', (profile_step.FORWARD, 'gathering (warping)')),
        ('jit(step)/transpose(jvp(VM))/scatter-add', 'x', (profile_step.REVERSE, 'scattering (reverse of warping)')),
        ('jit(step)/jvp(VM)/add', 'copy.3', (profile_step.FORWARD, profile_step.OTHER)),
        ('', 'copy.3', (profile_step.UPDATE, 'copies')),
    ],
)
def test_what_an_operation_belongs_to(origin, operation, found):
    assert profile_step.kind_of(origin, operation) == found


def test_operations_without_a_name_count_to_the_loop_that_they_are_in():
    text = """HloModule jit_train_step

%fused (a: f32[2,2]) -> f32[2,2] {
  %a = f32[2,2]{1,0} parameter(0)
  ROOT %dot.1 = f32[2,2]{1,0} dot(%a, %a), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (state: (s32[], f32[2,2])) -> (s32[], f32[2,2]) {
  %state = (s32[], f32[2,2]{1,0}) parameter(0)
  %ynn_fusion.2 = f32[2,2]{1,0} fusion(%state), kind=kCustom, calls=%fused
  %add.1 = f32[2,2]{1,0} add(%x, %y), metadata={op_name="jit(train_step)/transpose(jvp(N))/while/body/add" id=3}
  ROOT %tuple.1 = (s32[], f32[2,2]{1,0}) tuple(%i, %add.1)
}

ENTRY %main (a: f32[2,2]) -> f32[2,2] {
  %fusion.7 = f32[2,2]{1,0} fusion(%a), kind=kCustom, calls=%fused
  %copy.1 = f32[2,2]{1,0} copy(%a)
  ROOT %mul.1 = f32[2,2]{1,0} multiply(%a, %a), metadata={op_name="jit(train_step)/mul"}
}
"""
    names = profile_step.operation_names(text)
    assert names['add.1'].endswith('body/add') and names['mul.1'] == 'jit(train_step)/mul' and 'copy.1' not in names
    found = {name: profile_step.kind_of(names[name], name) for name in ('ynn_fusion.2', 'fusion.7')}
    assert found['ynn_fusion.2'] == (profile_step.REVERSE, 'products of matrices')
    assert found['fusion.7'] == (profile_step.UPDATE, 'products of matrices')


def test_time_counts_once_however_many_operations_run():
    events = [(0.0, 4.0, 'a'), (1.0, 2.0, 'b'), (6.0, 9.0, 'c')]
    assert profile_step.busy(events, 0, 10) == 7
    assert profile_step.busy(events, 3, 7) == 2


@pytest.mark.slow
def test_a_device_agrees_with_itself(monkeypatch):
    monkeypatch.setattr(device_agreement, 'SIZE', SIZE)
    monkeypatch.setattr(device_agreement, 'PRECISIONS', ('float32', 'bfloat16'))
    with hurried():
        found = device_agreement.compare(jax.devices('cpu')[0], base_channels=2, large_kernel=False)
    assert found['largest_displacement'] > 0.01
    # No CPU computes in bfloat16.
    assert set(found['precisions']) == {'float32'}
    assert all(value == 0 for one in found['precisions'].values() for value in one.values())


@pytest.mark.slow
def test_the_memory_of_a_step_falls_with_what_is_recomputed(tmp_path, monkeypatch):
    """With nothing and with everything recomputed; each is traced for seconds."""
    monkeypatch.setattr(step_memory, 'REMATS', step_memory.REMATS[::4])
    out = tmp_path / 'memory.json'
    assert step_memory.main(['--sizes=32x32x16', f'--out={out}']) == 0
    record = json.loads(out.read_text())
    found = {(estimate['remat'], estimate['precision']): estimate['gib'] for estimate in record['estimates']}
    none, everything = (found[remat, 'default'] for remat in step_memory.REMATS)
    assert none > everything > 0
    assert found['none', 'bfloat16'] < none
    assert step_memory.table(record).count('\n') == 1 + len(step_memory.REMATS)
