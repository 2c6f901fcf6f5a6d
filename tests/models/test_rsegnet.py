"""RSegNet: its names, its maps and what its segmentations are; what it shares is in test_joint_networks.py."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.fields import integrate_velocity, invert_velocity, upsample_displacement
from autofuse_jax.models.field_outputs import of_velocity
from autofuse_jax.models.rsegnet import RSegNet
from tests.fields.inverse_consistency import inverse_consistency_error
from tests.models.joint_networks import RSEGNET
from tests.models.shapes import image_of, shapes_of
from tests.quick import quick_jit, quick_key

# Largest velocity, in voxels of full resolution.
VELOCITY = 2.0


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    shapes = shapes_of(RSegNet())
    encoder = {f'encoder_{number}' for number in range(1, 5)}
    assert set(shapes['registration']) == {'unet', 'mean', 'log_variance'}
    assert set(shapes['segmentation']) == {'unet', 'structures'}
    assert set(shapes['registration']['unet']) == encoder | {f'decoder_{number}' for number in range(1, 7)}
    assert set(shapes['segmentation']['unet']) == encoder | {f'decoder_{number}' for number in range(1, 7)}


def test_widths_of_the_joined_levels():
    shapes = shapes_of(RSegNet())
    wide = {
        name: [unet[f'decoder_{n}']['kernel'].shape[3:] for n in range(1, 7)]
        for name, unet in ((name, shapes[name]['unet']) for name in shapes)
    }
    assert wide['registration'] == [(64, 64), (64, 64), (96, 32), (64, 32), (48, 32), (32, 16)]
    # The image itself joins at full resolution.
    assert wide['segmentation'] == [(64, 64), (64, 64), (96, 32), (64, 32), (48, 32), (33, 16)]


def test_noise_changes_the_map_and_nothing_else():
    fixed, moving = RSEGNET.pair()
    one = RSEGNET.apply(RSEGNET.params, fixed, moving)
    noise = jnp.asarray(np.random.default_rng(1).normal(size=one.velocity_mean.shape), jnp.float32)
    sampled = RSEGNET.apply(RSEGNET.params, fixed, moving, noise)
    assert np.abs(sampled.displacement - one.displacement).max() > 0.1
    np.testing.assert_array_equal(sampled.velocity_mean, one.velocity_mean)
    jax.tree.map(np.testing.assert_array_equal, sampled.fixed_segmentation, one.fixed_segmentation)


def test_both_maps_are_integrals_of_the_mean_velocity():
    output = RSEGNET.apply(RSEGNET.params, *RSEGNET.pair())
    velocity = output.velocity_mean[0]
    assert velocity.shape == (8, 8, 8, 3) and np.abs(velocity).max() > 0.1
    for integrate, field in (
        (integrate_velocity, output.displacement),
        (invert_velocity, output.inverse_displacement),
    ):
        np.testing.assert_allclose(field[0], upsample_displacement(integrate(velocity)), atol=1e-4)


def test_map_and_inverse_cancel():
    size = 16
    grid = np.stack(np.meshgrid(*[np.linspace(0, 2 * np.pi, size)] * 3, indexing='ij'), axis=-1)
    waves = np.random.default_rng(0).normal(size=(3, 3))
    velocity = np.sin(grid @ waves + np.arange(3)) * np.prod(np.sin(grid / 2), axis=-1, keepdims=True)
    # Half a voxel of this grid is one of full resolution.
    velocity = jnp.asarray(velocity / np.abs(velocity).max() * VELOCITY / 2, jnp.float32)[None]
    output = of_velocity(velocity, jnp.zeros((1, *(2 * size,) * 3, 1)))
    assert np.abs(output.displacement).max() > 0.5 * VELOCITY
    for maps in (
        (output.displacement, output.inverse_displacement),
        (output.inverse_displacement, output.displacement),
    ):
        assert inverse_consistency_error(maps[0][0], maps[1][0]).mean() < 0.05


def test_background_is_what_no_structure_is():
    output = RSEGNET.apply(RSEGNET.params, *RSEGNET.pair())
    structures = np.asarray(output.fixed_segmentation[..., 1:])
    assert 0 < structures.min() and structures.max() < 1
    np.testing.assert_allclose(output.fixed_segmentation[..., 0], 1 - structures.max(axis=-1), atol=1e-6)


def test_the_start_is_almost_certain():
    image = image_of(RSEGNET.shape)
    start = quick_jit(lambda: RSEGNET.small.lazy_init(quick_key(), image, image)['params']['registration'])()
    np.testing.assert_array_equal(start['log_variance']['bias'], -10)
