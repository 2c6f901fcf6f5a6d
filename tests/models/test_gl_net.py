"""GL-Net as three networks: size and names, how the displacements are joined, start near the identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import warp_linear
from autofuse_jax.models.gl_net import GLNet
from autofuse_jax.models.pc_reg_unet import PCRegUNet
from autofuse_jax.models.voxelmorph_unet import VoxelMorphUNet
from tests.models.shapes import count, shapes_of
from tests.quick import quick_jit, quick_key, random_params

SHAPE = (16, 16, 32)
SMALL = GLNet(num_classes=3, base_channels=4)
PARTS = ('perception', 'global_registration', 'local_registration')


def pair(seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((2, 1, *SHAPE, 1)), jnp.float32)


@pytest.fixture(scope='module')
def params():
    return random_params(shapes_of(SMALL))


@pytest.fixture(scope='module')
def apply():
    return quick_jit(lambda params, *inputs: SMALL.apply({'params': params}, *inputs))


@pytest.mark.parametrize(
    ('classes', 'parts', 'total'),
    [
        (4, (5_887_028, 327_331, 329_059), 6_543_418),
        (20, (5_887_300, 327_331, 342_883), 6_557_514),
    ],
)
def test_number_of_parameters(classes, parts, total):
    shapes = shapes_of(GLNet(classes))
    assert set(shapes) == set(PARTS) and tuple(count(shapes[name]) for name in PARTS) == parts
    assert count(shapes) == total


def test_the_parts_are_those_of_pc_reg_and_voxelmorph():
    """Equal names and shapes: parameters can be taken over from there."""
    shapes, image = shapes_of(GLNet()), jnp.zeros((1, *SHAPE, 1))
    perception = jax.eval_shape(PCRegUNet(4).init, quick_key(), image)['params']
    registration = jax.eval_shape(VoxelMorphUNet().init, quick_key(), jnp.concatenate([image, image], axis=-1))
    assert shapes['perception'] == perception
    assert shapes['global_registration'] == registration['params']


def test_joined_displacements(apply, params):
    fixed, moving = pair()
    output = apply(params, fixed, moving)
    masks = output.fixed_segmentation, output.moving_segmentation
    np.testing.assert_allclose(masks[0].sum(axis=-1), 1, rtol=1e-5)
    regions = [image * mask[..., 1:] for image, mask in zip((fixed, moving), masks, strict=True)]
    networks = {'local_registration': regions[::-1], 'global_registration': [moving, fixed]}
    network = quick_jit(VoxelMorphUNet((4, 8, 8, 8), ((8,), (8,), (8,), (8,), (8, 4, 4))).apply)
    u_l, u_g = (
        network({'params': params[name]}, jnp.concatenate(inputs, axis=-1)) for name, inputs in networks.items()
    )
    assert min(np.abs(u_l).max(), np.abs(u_g).max()) > 0.1
    np.testing.assert_allclose(output.displacement, u_g + u_l, atol=1e-4)
    composed = quick_jit(SMALL.clone(combination='compose').apply)({'params': params}, fixed, moving)
    np.testing.assert_allclose(composed.displacement[0], u_g[0] + warp_linear(u_l[0], u_g[0]), atol=1e-3)
    assert output.velocity_mean is None and output.inverse_displacement is None


def test_zero_heads_are_the_identity(apply, params):
    for name in PARTS[1:]:
        params = params | {name: params[name] | {'flow': jax.tree.map(jnp.zeros_like, params[name]['flow'])}}
    fixed, moving = pair()
    output = apply(params, fixed, moving)
    np.testing.assert_array_equal(output.displacement, 0)
    np.testing.assert_allclose(output.warped, moving, atol=1e-6)


@pytest.mark.parametrize('options', [{'num_classes': 0}, {'base_channels': 6}, {'combination': 'mean'}])
def test_impossible_options(options):
    with pytest.raises(UserError, match=f'model.{next(iter(options))}'):
        GLNet(**options)


def test_sizes_must_be_multiples_of_16():
    with pytest.raises(ValueError, match=r'pad them to \(32, 32, 16\)'):
        shapes_of(SMALL, (32, 24, 16))
