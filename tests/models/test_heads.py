"""The registration and segmentation heads and the state they start in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses import velocity_kl
from autofuse_jax.models.heads import RegistrationHead, SegmentationHead
from tests.quick import quick_key

FEATURES = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 8, 6)), jnp.float32)


@pytest.fixture(scope='module')
def params():
    return jax.jit(RegistrationHead().init)(quick_key(), FEATURES)['params']


@pytest.fixture(scope='module')
def prediction(params):
    return jax.jit(RegistrationHead().apply)({'params': params}, FEATURES)


def test_registration_starts_near_no_motion_and_almost_certain(prediction):
    mean, log_variance = prediction
    assert mean.shape == log_variance.shape == (1, 8, 8, 8, 3)
    # 6 * 27 inputs of variance about 1 times weights of deviation 1e-5: about 1.3e-4, and not nothing.
    assert 1e-5 < mean.std() < 1e-3
    np.testing.assert_allclose(log_variance, -10, atol=1e-5)


def test_divergence_at_the_start_is_15(prediction):
    # 1.5 (50 Deg e^-10 + 10) with a mean degree of 5.25, and next to nothing for the smoothness of the mean.
    mean, log_variance = prediction
    value = velocity_kl(mean[0], log_variance[0])
    np.testing.assert_allclose(value, 1.5 * (50 * 5.25 * np.exp(-10) + 10), rtol=1e-5)
    assert value == pytest.approx(15.0, abs=0.02)


def test_initial_parameters(params):
    np.testing.assert_array_equal(params['mean']['bias'], 0)
    np.testing.assert_array_equal(params['log_variance']['bias'], -10)
    # 27 * 6 * 3 = 486 draws: the deviation is known to some percent.
    np.testing.assert_allclose(params['mean']['kernel'].std(), 1e-5, rtol=0.15)
    np.testing.assert_allclose(params['log_variance']['kernel'].std(), 1e-10, rtol=0.15)
    assert params['conv']['kernel'].shape == (3, 3, 3, 6, 6)


def test_without_variance(params):
    head = RegistrationHead(variance=False)
    shapes = jax.eval_shape(head.init, jax.random.key(0), FEATURES)['params']
    assert set(shapes) == {'conv', 'mean'}
    mean, log_variance = head.apply({'params': {name: params[name] for name in shapes}}, FEATURES)
    assert log_variance is None
    wanted, _ = RegistrationHead().apply({'params': params}, FEATURES)
    np.testing.assert_allclose(mean, wanted, rtol=1e-4, atol=1e-9)


def test_first_convolution_of_another_width():
    shapes = jax.eval_shape(RegistrationHead(features=4).init, jax.random.key(0), FEATURES)['params']
    assert shapes['conv']['kernel'].shape == (3, 3, 3, 6, 4)
    assert shapes['mean']['kernel'].shape == shapes['log_variance']['kernel'].shape == (3, 3, 3, 4, 3)


def test_segmentation_by_hand():
    features = FEATURES[:, :2, :2, :2]
    head = SegmentationHead(3)
    params = head.init(quick_key(), features)['params']
    assert jax.tree.map(jnp.shape, params) == {'conv': {'kernel': (1, 1, 1, 6, 3), 'bias': (3,)}}
    result = head.apply({'params': params}, features)
    logits = features @ params['conv']['kernel'][0, 0, 0] + params['conv']['bias']
    np.testing.assert_allclose(result, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(result.sum(axis=-1), 1, rtol=1e-6)
    # Large logits do not overflow.
    certain = head.apply({'params': jax.tree.map(lambda leaf: 1e4 * leaf, params)}, features)
    assert np.isfinite(certain).all()
    np.testing.assert_allclose(certain.max(axis=-1), 1, atol=1e-5)
