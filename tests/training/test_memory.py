"""The estimate of a training step's memory against the compiled program, and the message where it is too much."""

import jax
import jax.numpy as jnp
import optax
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from autofuse_jax.training.memory import (
    GIB,
    bytes_of,
    check_compiled_fits,
    check_step_fits,
    device_bytes,
    kept_by_compiler,
    step_bytes,
)
from autofuse_jax.training.state import create_train_state
from autofuse_jax.training.step import make_train_step
from tests.quick import quick_jit

SHAPE = (32, 32, 16)


def made(shape=SHAPE, pairs=1, name='voxelmorph', **model):
    """Return objectives, shapes of the state, and shapes of a batch."""
    method = make_method(name, model, {})
    state = jax.eval_shape(
        lambda key: create_train_state(method, optax.adam(1e-3), ('phase_1',), shape, key), jax.random.key(0)
    )
    image = jax.ShapeDtypeStruct((pairs, *shape, 1), jnp.float32)
    return method.objectives('phase_1'), state, {'fixed': image, 'moving': image}


@pytest.mark.slow
def test_the_compiled_step_needs_about_as_much():
    objectives, state, batch = made()
    compiled = quick_jit(make_train_step(objectives, optax.adam(1e-3))).lower(state, batch).compile()
    memory = compiled.memory_analysis()
    # The new state lies beside the old one, which is not given away here. Scratch space comes on top.
    found = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    assert 0.5 < step_bytes(objectives, state, batch) / found < 1.2
    with pytest.raises(UserError, match='1 pairs of 32 x 32 x 16 voxels needs about .* model.remat'):
        check_compiled_fits(compiled, batch, limit=found)
    check_compiled_fits(compiled, batch, limit=found + memory.output_size_in_bytes)


def test_it_grows_with_volume_and_batch_and_is_shared_by_devices():
    def activations(devices=1, **options):
        objectives, state, batch = made(**options)
        # State and gradients are on every device.
        return step_bytes(objectives, state, batch, devices) - bytes_of(state) - bytes_of(state.params)

    one = activations()
    assert activations(pairs=2) == pytest.approx(2 * one, rel=0.15)
    assert activations(shape=(32, 32, 32)) == pytest.approx(2 * one, rel=0.15)
    assert activations(devices=4) == pytest.approx(one / 4, rel=0.01)


def test_recomputing_needs_less():
    few, many = (
        step_bytes(*made(name='autofuse', base_channels=2, large_kernel=False, remat=remat))
        for remat in ('all', 'none')
    )
    assert few < 0.75 * many


@pytest.mark.parametrize(
    ('remat', 'platform', 'kept'),
    [
        ('none', 'cpu', 'none'),
        ('none', 'tpu', 'none'),
        ('none', 'gpu', 'activations'),
        ('2,gates', 'gpu', '2,gates,activations'),
        ('activations', 'gpu', 'activations'),
        ('all', 'gpu', 'all'),
    ],
)
def test_the_compiler_for_gpus_keeps_less_than_it_is_asked_to(remat, platform, kept):
    assert kept_by_compiler(remat, platform) == kept


def test_too_much_is_refused_with_what_can_be_done():
    with pytest.raises(UserError, match='1 pairs of 32 x 32 x 16 voxels needs about') as raised:
        check_step_fits(*made(), limit=GIB // 100)
    for knob in ('batch_size', 'remat', 'precision', 'base_channels', 'grid', 'depth_devices', 'check_memory=False'):
        assert knob in str(raised.value)


def test_what_fits_is_estimated_only_where_that_is_in_doubt():
    arguments = made()
    assert check_step_fits(*arguments, limit=10 * GIB) is None
    assert check_step_fits(*arguments, limit=GIB // 2) == step_bytes(*arguments)


def test_tpus_take_more_than_the_arrays_hold():
    arguments = made()
    cpu, tpu = (check_step_fits(*arguments, limit=GIB // 2, platform=platform) for platform in ('cpu', 'tpu'))
    assert tpu == 2 * cpu
    with pytest.raises(UserError):
        check_step_fits(*arguments, limit=(cpu + tpu) // 2, platform='tpu')


def test_the_memory_of_the_machine_is_shared_by_its_simulated_devices():
    assert 0 < device_bytes() * jax.local_device_count() < 2**50
