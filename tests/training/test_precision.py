"""In which precision networks multiply: what is traced, what stays float32, and who cannot."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.configs import quickstart
from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method, section_options
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.precision import PRECISIONS, check_precision, compute_dtype, has_bfloat16, products_in
from tests.quick import quick_jit

SIZE = (16, 16, 16)
CLASSES = 3
SMALL = {'base_channels': 2, 'num_classes': CLASSES}


def pair(seed=0):
    """Return two smooth images, (1, D, H, W, 1) in 0 .. 1."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, 4, 4, 4), np.float32)
    return tuple(jax.image.resize(jnp.asarray(image), SIZE, 'cubic').clip(0, 1)[None, ..., None] for image in coarse)


def output_of(dtype, params):
    method = make_method('autofuse', SMALL, {}, compute_dtype=dtype)
    fixed, moving = pair()
    return quick_jit(lambda params: method.predict(params, fixed, moving, jax.random.key(0)))(params)


@pytest.fixture(scope='module')
def params():
    method = make_method('autofuse', SMALL, {})
    shapes = jax.eval_shape(lambda key: method.init(key, SIZE), jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype), shapes)


@pytest.mark.parametrize('precision', PRECISIONS)
def test_products_are_traced_in_the_precision(precision):
    matrix = jnp.ones((2, 2))
    with products_in(precision):
        jaxpr = str(jax.make_jaxpr(lambda a: a @ a)(matrix))
    assert ('HIGHEST' in jaxpr) == (precision == 'float32')


@pytest.mark.slow
def test_half_precision_is_near_and_its_fields_are_not_rounded(params):
    exact, near = (output_of(compute_dtype(precision), params) for precision in ('default', 'bfloat16'))
    assert near.displacement.dtype == near.fixed_segmentation.dtype == jnp.float32
    size, error = (float(jnp.linalg.norm(u)) for u in (exact.displacement, near.displacement - exact.displacement))
    # It does round something, but the field is no number of bfloat16 itself.
    assert 0 < error < 0.1 * size
    assert jnp.any(near.displacement != near.displacement.astype(jnp.bfloat16).astype(jnp.float32))


def test_convolutions_are_in_half_precision_but_for_the_last_layers(params):
    method = make_method('autofuse', SMALL, {}, compute_dtype=compute_dtype('bfloat16'))
    fixed, moving = pair()
    jaxpr = jax.make_jaxpr(lambda p: method.predict(p, fixed, moving, jax.random.key(0)).displacement)(params)
    types_of = [v.aval.dtype for e in _equations(jaxpr.jaxpr) if 'conv_general' in str(e.primitive) for v in e.outvars]
    assert types_of.count(jnp.dtype(jnp.bfloat16)) > 10 * types_of.count(jnp.dtype(jnp.float32)) > 0


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: hasattr(v, 'eqns') or hasattr(v, 'jaxpr')):
            inner = getattr(value, 'jaxpr', value)
            if hasattr(inner, 'eqns'):
                yield from _equations(inner)


def test_the_loss_and_its_derivatives_are_float32(params):
    method = make_method('autofuse', SMALL, {}, compute_dtype=compute_dtype('bfloat16'))
    (objective,) = method.objectives('phase_1')
    fixed, moving = pair()
    labels = jnp.zeros((1, *SIZE), jnp.uint8)
    batch = {'fixed': fixed, 'moving': moving, 'fixed_labels': labels, 'moving_labels': labels}
    batch |= {f'{role}_has_labels': jnp.ones((1,), bool) for role in ('fixed', 'moving')}
    value, gradient = jax.eval_shape(
        jax.value_and_grad(lambda p: objective.loss(p, batch, jax.random.key(0))[0]), params
    )
    assert {leaf.dtype for leaf in (value, *jax.tree.leaves(gradient))} == {jnp.dtype(jnp.float32)}


def test_it_is_no_option_of_the_network():
    assert 'compute_dtype' not in section_options('autofuse', 'model')


def test_a_method_that_cannot():
    with pytest.raises(UserError, match='voxelmorph cannot compute in bfloat16') as raised:
        make_method('voxelmorph', {}, {}, compute_dtype=compute_dtype('bfloat16'))
    assert 'autofuse, autofuse_trans' in str(raised.value)


@pytest.mark.parametrize(
    ('platform', 'capability', 'can'),
    [('tpu', None, True), ('cpu', None, False), ('gpu', '9.0', True), ('gpu', '7.5', False), ('gpu', 'gfx90a', True)],
)
def test_devices_that_can(platform, capability, can):
    device = types.SimpleNamespace(platform=platform, device_kind='some device')
    if capability:
        device.compute_capability = capability
    assert has_bfloat16(device) == can
    check_precision('float32', device)
    if can:
        check_precision('bfloat16', device)
    else:
        with pytest.raises(UserError, match=r"'bfloat16', and some device .* does not compute in it"):
            check_precision('bfloat16', device)


def test_an_experiment_on_a_device_without(tmp_path):
    config = quickstart.get_config()
    config.training.precision, config.training.devices = 'bfloat16', 1
    with pytest.raises(UserError, match="set training.precision='default'"):
        Experiment(config, tmp_path)
