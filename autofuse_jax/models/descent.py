"""Steps that are learned: from what a velocity leaves of the difference of two images to what is added to it.

A network that registers in one go says how far things move before it has seen where they end. Iterative registration
looks again, and moves along the forces that are left. Here a small network says how far: `v <- v + d(e(v))`, several
times with the same parameters, where e are the forces of both images and their segmentations under `exp(v)`. They are
found on the images' grid, finer than that on which a fusion branch sees anything, and summed over each voxel of the
velocity's. Not in the paper. What it takes over:

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

# Channels of the levels, from the velocity's grid to a quarter of it, in multiples of the base width.
WIDTHS = (2, 3, 4)
# Mean squared gradients below it, a tenth of the range of intensities a voxel squared, pull less and less.
FORCE_FLOOR = 1e-2
# Of each component of what a step adds, in voxels of the velocity's grid: without it, one step too far makes forces
# that no training has shown, and the next steps go further.
LONGEST_STEP = 0.5
# Products of residuals and gradients of probabilities are small: a border of one voxel among four gives about 0.1.
PULL_SCALE = 10.0


class DescentBranch(nn.Module):
    """U-Net without norms: where the forces vanish it must not make them large again.

    Attributes:
        channels: Base width; the finest level has twice that.
    """

    channels: int

    @nn.compact
    def __call__(self, evidence: jax.Array) -> jax.Array:
        """Map what `evidence_of` returns, (B, d, h, w, E), to what is added to the velocity, (B, d, h, w, 3)."""
        widths = [factor * self.channels for factor in WIDTHS]

        def convolved(volume: jax.Array, width: int, name: str) -> jax.Array:
            return activate(Conv3d(width, name=name)(volume))

        volume, skips = evidence, []
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
        # The forces go to the last layer themselves, too, so that it may begin with a step along them.
        added = mean_convolution('mean')(widened(jnp.concatenate([volume, evidence], axis=-1)))
        return LONGEST_STEP * jnp.tanh(added / LONGEST_STEP)


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
        orders: Images and segmentations side by side, see `evidence_of`, and those with the images exchanged where both
            orders count: what is added is then half the difference of both.
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
    """Return what a step is told, on the velocity's grid.

    Args:
        images: (B, D, H, W, 2 + 2 C): fixed, moving, and the segmentation of each with C classes or none.
        velocity: (B, d, h, w, 3), voxels of its own grid, of the same field of view; D, H, W are multiples of d, h, w.

    Returns:
        (B, d, h, w, E): means of the fixed and the warped image and of both segmentations over a voxel of this grid,
        the step that the forces of the images and, with classes, of the segmentations suggest, see `gauss_newton`, the
        pull of each channel and the square of its gradient, and the velocity.
    """
    fixed_image, moving_image, segmentations = jnp.split(images, (1, 2), axis=-1)
    fixed_segmentation, moving_segmentation = jnp.split(segmentations, 2, axis=-1)
    fixed = jnp.concatenate([fixed_image, fixed_segmentation], axis=-1)
    moving = jnp.concatenate([moving_image, moving_segmentation], axis=-1)
    warped = jax.vmap(warp_linear)(moving, displacement_on(velocity, images.shape[1:4])).astype(images.dtype)
    factor = tuple(fine // coarse for fine, coarse in zip(images.shape[1:4], velocity.shape[1:4], strict=True))
    pull, square = (downsample(measure, factor) for measure in pulls(fixed, warped))
    pull = pull.reshape(*pull.shape[:-1], 3, -1)
    # A voxel of this grid is that many of the images'.
    to_grid = 1.0 / jnp.asarray(factor, images.dtype)
    suggested = [to_grid * gauss_newton(pull[..., :1], square[..., :1])]
    if segmentations.shape[-1]:
        suggested.append(to_grid * gauss_newton(pull[..., 1:], square[..., 1:]))
    told = [downsample(fixed, factor), downsample(warped, factor), *suggested]
    scaled = [PULL_SCALE * pull.reshape(*pull.shape[:-2], -1), PULL_SCALE * square]
    return jnp.concatenate([*told, *scaled, velocity.astype(images.dtype)], axis=-1)


def pulls(fixed: jax.Array, warped: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return how each channel pulls at each voxel: `r g` and `|g|^2`.

    r is `fixed - warped` and g the mean of the gradients of both, so that a step along `r g` makes r smaller.

    Args:
        fixed: (B, D, H, W, C).
        warped: (B, D, H, W, C).

    Returns:
        (B, D, H, W, 3 C), the channels of each component of the gradient side by side, and (B, D, H, W, C).
    """
    residual, mean = fixed - warped, 0.5 * (fixed + warped)
    gradients = [central_difference(mean, axis) for axis in (1, 2, 3)]
    pull = jnp.concatenate([residual * gradient for gradient in gradients], axis=-1)
    return pull, sum((jnp.square(gradient) for gradient in gradients), jnp.zeros_like(mean))


def gauss_newton(pull: jax.Array, square: jax.Array) -> jax.Array:
    """Return the step that several channels suggest together: `sum_c r_c g_c / (sum_c |g_c|^2 + 0.01)`.

    Args:
        pull: (B, d, h, w, 3, C), means of `r g`.
        square: (B, d, h, w, C), means of `|g|^2`.

    Returns:
        (B, d, h, w, 3), in voxels of the grid of the gradients.
    """
    return jnp.sum(pull, axis=-1) / (jnp.sum(square, axis=-1, keepdims=True) + FORCE_FLOOR)


def central_difference(volume: jax.Array, axis: int) -> jax.Array:
    """Return half the difference of both neighbours along an axis; beyond the ends the last value is taken again."""
    padding = [(1, 1) if number == axis else (0, 0) for number in range(volume.ndim)]
    padded = jnp.pad(volume, padding, mode='edge')
    length = volume.shape[axis]
    ahead, behind = (jax.lax.slice_in_dim(padded, start, start + length, axis=axis) for start in (2, 0))
    return 0.5 * (ahead - behind)
