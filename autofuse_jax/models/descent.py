"""Steps that are learned: from what a velocity leaves of the difference of two images to what is added to it.

A network that registers in one go says how far things move before it has seen where they end. Iterative registration
looks again, and moves along the forces that are left. Here a small network says how far: `v <- v + d(e(v))`, several
times with the same parameters, where e are the images, their segmentations and the demons' forces of both under
`exp(v)`. Not in the paper. What it takes over:

- that a network learns the steps of an optimisation: Qiu et al., Embedding gradient-based optimization in image
  registration networks, MICCAI 2022;
- the forces and the sum of velocities: Vercauteren et al., Symmetric log-domain diffeomorphic registration, MICCAI
  2008.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.fields import warp_linear
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import HALVING, activate, downsample, upsample
from autofuse_jax.models.field_outputs import widened
from autofuse_jax.models.heads import mean_convolution
from autofuse_jax.models.refinement import displacement_on

# Channels of the levels, from half resolution to an eighth, in multiples of the base width.
WIDTHS = (2, 3, 4)
# Differences and gradients below its root, a thirtieth of the range of intensities, pull less and less.
FORCE_FLOOR = 1e-3


class DescentBranch(nn.Module):
    """U-Net without norms: where the forces vanish it must not make them large again.

    Attributes:
        channels: Base width, that of the one convolution at full resolution.
    """

    channels: int

    @nn.compact
    def __call__(self, evidence: jax.Array) -> jax.Array:
        """Map what `evidence_of` returns, (B, D, H, W, E), to what is added to the velocity, (B, d, h, w, 3)."""
        widths = [factor * self.channels for factor in WIDTHS]

        def convolved(volume: jax.Array, width: int, name: str) -> jax.Array:
            return activate(Conv3d(width, name=name)(volume))

        finest = convolved(evidence, self.channels, 'finest')
        # The forces themselves, too: their mean over a block is what the sum of squared differences says of its motion.
        volume = downsample(jnp.concatenate([finest, evidence], axis=-1))
        skips: list[jax.Array] = []
        for level, width in enumerate(widths):
            if level:
                skips.append(volume)
                volume = downsample(volume, halving(volume))
            volume = convolved(volume, width, f'down_{level}_1')
            volume = convolved(volume, width, f'down_{level}_2')
        for level in reversed(range(len(skips))):
            factor = halving(skips[level])
            volume = jnp.concatenate([upsample(volume, factor), skips[level]], axis=-1)
            volume = convolved(volume, widths[level], f'up_{level}')
        return mean_convolution('mean')(widened(volume))


def halving(volume: jax.Array) -> tuple[int, ...]:
    """Return the factor of the next coarser level: axes of an odd length stay."""
    return tuple(step if length % step == 0 else 1 for step, length in zip(HALVING, volume.shape[1:4], strict=True))


def descend(
    branch: Callable[[jax.Array], jax.Array], orders: Sequence[jax.Array], velocity: jax.Array, steps: int
) -> list[jax.Array]:
    """Return the velocity after each step.

    No gradient goes from a step into those before: each is judged by where it leads.

    Args:
        branch: Maps evidence to what is added, as `DescentBranch` does.
        orders: The images and segmentations as a fusion branch is given them, and those with the images exchanged where
            both orders count: what is added is then half the difference of both.
        velocity: (B, d, h, w, 3), where it begins.
        steps: Number of steps.
    """
    velocities = []
    for _ in range(steps):
        velocity = jax.lax.stop_gradient(velocity)
        added = [branch(evidence_of(images, sign * velocity)) for images, sign in zip(orders, (1, -1), strict=False)]
        velocity = velocity + (added[0] if len(added) == 1 else 0.5 * (added[0] - added[1]))
        velocities.append(velocity)
    return velocities


def evidence_of(images: jax.Array, velocity: jax.Array) -> jax.Array:
    """Return what a step is told.

    Args:
        images: (B, D, H, W, 2 + 2 C): fixed, moving, and the segmentation of each with C classes or none.
        velocity: (B, d, h, w, 3), voxels of its own grid, of the same field of view.

    Returns:
        (B, D, H, W, E): fixed and warped moving image, segmentations likewise, forces of the images and, with classes,
        of the segmentations, and the displacement, in voxels of this grid.
    """
    fixed_image, moving_image, segmentations = jnp.split(images, (1, 2), axis=-1)
    fixed_segmentation, moving_segmentation = jnp.split(segmentations, 2, axis=-1)
    displacement = displacement_on(velocity, images.shape[1:4])
    moved = jax.vmap(warp_linear)(jnp.concatenate([moving_image, moving_segmentation], axis=-1), displacement)
    moved = moved.astype(images.dtype)
    warped_image, warped_segmentation = moved[..., :1], moved[..., 1:]
    told = [fixed_image, warped_image, fixed_segmentation, warped_segmentation, forces(fixed_image, warped_image)]
    if segmentations.shape[-1]:
        told.append(forces(fixed_segmentation, warped_segmentation))
    return jnp.concatenate([*told, displacement.astype(images.dtype)], axis=-1)


def forces(fixed: jax.Array, warped: jax.Array) -> jax.Array:
    """Return the demons' forces of several channels together: `sum_c r_c g_c / (sum_c (g_c^2 + r_c^2) + 0.001)`.

    r is `fixed - warped` and g the mean of the gradients of both, so that a step along the force makes r smaller.

    Args:
        fixed: (B, D, H, W, C).
        warped: (B, D, H, W, C).

    Returns:
        (B, D, H, W, 3), at most half a voxel long.
    """
    residual, mean = fixed - warped, 0.5 * (fixed + warped)
    gradient = jnp.stack([central_difference(mean, axis) for axis in (1, 2, 3)], axis=-1)
    pull = jnp.sum(residual[..., None] * gradient, axis=-2)
    size = jnp.sum(jnp.square(gradient), axis=(-2, -1)) + jnp.sum(jnp.square(residual), axis=-1)
    return pull / (size + FORCE_FLOOR)[..., None]


def central_difference(volume: jax.Array, axis: int) -> jax.Array:
    """Return half the difference of both neighbours along an axis; beyond the ends the last value is taken again."""
    padding = [(1, 1) if number == axis else (0, 0) for number in range(volume.ndim)]
    padded = jnp.pad(volume, padding, mode='edge')
    length = volume.shape[axis]
    ahead, behind = (jax.lax.slice_in_dim(padded, start, start + length, axis=axis) for start in (2, 0))
    return 0.5 * (ahead - behind)
