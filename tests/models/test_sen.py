"""SEN: its size, its encoders that are not shared, and how its two fields are composed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.methods.registry import make_method
from autofuse_jax.models.sen import SEN
from tests.models.shapes import count, image_of, shapes_of
from tests.quick import quick_jit, quick_key, random_params

SHAPE = (16, 16, 32)
SMALL = SEN(base_channels=1, displacement_range=4.0)


@pytest.fixture(scope='module')
def apply():
    compiled = quick_jit(SMALL.apply)
    return lambda params, fixed, moving: compiled({'params': params}, fixed, moving)


@pytest.fixture
def params():
    return random_params(shapes_of(SMALL))


@pytest.fixture(scope='module')
def images():
    fixed, moving = np.random.default_rng(0).random((2, 1, *SHAPE, 1))
    return jnp.asarray(fixed, jnp.float32), jnp.asarray(moving, jnp.float32)


def test_parameter_count():
    assert count(shapes_of(SEN())) == 3_995_256


def test_sizes_that_are_no_multiples_of_16_are_refused():
    with pytest.raises(ValueError, match='multiples of 16'):
        shapes_of(SEN(), (16, 16, 8))


def test_exchanging_the_images_does_not_exchange_the_maps(apply, params, images):
    fixed, moving = images
    output, exchanged = apply(params, fixed, moving), apply(params, moving, fixed)
    assert float(jnp.abs(output.displacement - exchanged.inverse_displacement).max()) > 0.1
    assert float(jnp.abs(output.inverse_displacement - exchanged.displacement).max()) > 0.1


def test_each_image_has_an_encoder_of_its_own(apply, params, images):
    fixed, moving = images
    without = {name: jax.tree.map(jnp.zeros_like, leaf) for name, leaf in params.items() if name.startswith('fixed_')}
    params |= without
    # What is left of the fixed image goes through the encoder of the pair.
    kernel = params['pair_1']['kernel']
    params['pair_1'] = params['pair_1'] | {'kernel': kernel.at[..., 1, :].set(0.0)}
    output = apply(params, fixed, moving)
    np.testing.assert_array_equal(output.displacement, apply(params, 1 - fixed, moving).displacement)
    assert float(jnp.abs(output.displacement - apply(params, fixed, 1 - moving).displacement).max()) > 0.1


def test_each_map_is_one_field_less_the_other_where_it_leads(apply, params, images):
    fixed, moving = images
    # Features of 1 everywhere, and heads that look at one voxel: constant fields.
    last = params['decoder_4_2']
    params['decoder_4_2'] = {'kernel': jnp.zeros_like(last['kernel']), 'bias': jnp.ones_like(last['bias'])}
    fields = {'flow': np.array([2.0, 0.0, -1.0]), 'inverse_flow': np.array([0.0, 1.0, -1.0])}
    for name, field in fields.items():
        fraction = field / SMALL.displacement_range
        kernel = jnp.zeros_like(params[name]['kernel']).at[1, 1, 1, 0].set(fraction / (1 - np.abs(fraction)))
        params[name] = {'kernel': kernel}
    output = apply(params, fixed, moving)
    inner = (0, *(slice(4, -4),) * 3)
    difference = np.broadcast_to(fields['flow'] - fields['inverse_flow'], output.displacement[inner].shape)
    np.testing.assert_allclose(output.displacement[inner], difference, atol=1e-5)
    np.testing.assert_allclose(output.inverse_displacement[inner], -difference, atol=1e-5)
    # Where a leads out of the grid, along the first axis, b counts as zero.
    np.testing.assert_allclose(output.displacement[0, -1, 8, 8], fields['flow'], atol=1e-5)


def test_without_heads_nothing_moves(apply, params, images):
    fixed, moving = images
    for name in ('flow', 'inverse_flow'):
        params[name] = jax.tree.map(jnp.zeros_like, params[name])
    output = apply(params, fixed, moving)
    np.testing.assert_array_equal(output.warped, moving)
    assert not np.any(output.inverse_displacement)


def test_the_default_loss_counts_both_directions():
    method = make_method('sen', {'base_channels': 1}, {})
    structure = jax.eval_shape(lambda key: method.init(key, SHAPE), quick_key())
    batch = {'fixed': image_of(SHAPE), 'moving': image_of(SHAPE)}
    _, diagnostics = jax.eval_shape(method.objectives('phase_1')[0].loss, structure, batch, quick_key())
    assert {'weighted/inverse_negative_ncc', 'weighted/inverse_smoothness', 'weighted/smoothness'} <= set(diagnostics)
