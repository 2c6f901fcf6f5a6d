"""GL-Net: its networks and how their displacements are joined; what it shares is in test_joint_networks.py."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.fields import warp_linear
from autofuse_jax.models.gl_net import GLNet
from autofuse_jax.models.pc_reg_unet import PCRegUNet
from autofuse_jax.models.voxelmorph_unet import VoxelMorphUNet
from tests.models.joint_networks import GL_NET
from tests.models.shapes import shapes_of
from tests.quick import quick_jit, quick_key


def test_the_parts_are_those_of_pc_reg_and_voxelmorph():
    """Equal names and shapes: parameters can be taken over from there."""
    shapes, image = shapes_of(GLNet()), jnp.zeros((1, *GL_NET.shape, 1))
    perception = jax.eval_shape(PCRegUNet(4).init, quick_key(), image)['params']
    registration = jax.eval_shape(VoxelMorphUNet().init, quick_key(), jnp.concatenate([image, image], axis=-1))
    assert shapes['perception'] == perception
    assert shapes['global_registration'] == registration['params']


def test_joined_displacements():
    (fixed, moving), params = GL_NET.pair(), GL_NET.params
    output = GL_NET.apply(params, fixed, moving)
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
    composed = quick_jit(GL_NET.small.clone(combination='compose').apply)({'params': params}, fixed, moving)
    np.testing.assert_allclose(composed.displacement[0], u_g[0] + warp_linear(u_l[0], u_g[0]), atol=1e-3)
    assert output.velocity_mean is None and output.inverse_displacement is None
