"""Steps that are learned: from what a velocity leaves of the difference of two images to what is added to it.

A network that registers in one go says how far things move before it has seen where they end. Iterative registration
looks again, and moves along the forces that are left. Here a small network says how far: `v <- v + d(e(v))`, several
times with the same parameters, where e are the forces of images and segmentations under `exp(v)`. They are found on
the images' grid, finer than that on which a fusion branch sees anything, and averaged over what each voxel of the
velocity's grid moves. Not in the paper. What it takes over:

- that a network learns the steps of an optimisation: Qiu et al., Embedding gradient-based optimization in image
  registration networks, MICCAI 2022;
- the forces and the sum of velocities: Vercauteren et al., Symmetric log-domain diffeomorphic registration, MICCAI
  2008.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.fields import integrate_velocity, upsample_displacement, warp_linear
from autofuse_jax.fields.resize import align_corners_matrix
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import HALVING, activate, downsample, upsample
from autofuse_jax.models.field_outputs import on_grid_of, widened
from autofuse_jax.models.heads import mean_convolution

# Channels of the levels, from the velocity's grid to a quarter of it, in multiples of the base width.
WIDTHS = (2, 3, 4)
# Mean squared gradients below it, a tenth of the range of intensities a voxel squared, pull less and less.
FORCE_FLOOR = 1e-2
# Of each component of what a step adds, in voxels of the velocity's grid: without it, one step too far makes forces
# that no training has shown, and the next steps go further.
LONGEST_STEP = 0.5
# Of a class that is small beside the others: the overlap of each counts the same, but what is hardly there is not worth
# any step.
LARGEST_WEIGHT = 4.0
# Products of residuals and gradients of probabilities are small: a border of one voxel among four gives about 0.1.
PULL_SCALE = 10.0


class DescentBranch(nn.Module):
    """U-Net without norms: where the forces vanish it must not make them large again.

    What it says is added to the step that the forces suggest, so that it begins as a descent that has not learned.

    Attributes:
        channels: Base width; the finest level has twice that.
    """

    channels: int

    @nn.compact
    def __call__(self, evidence: jax.Array, suggested: jax.Array) -> jax.Array:
        """Map what `evidence_of` returns to what is added to the velocity, (B, d, h, w, 3)."""
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
        # The forces go to the last layer themselves, too, which may filter the step that they suggest.
        added = widened(suggested) + mean_convolution('mean')(widened(jnp.concatenate([volume, evidence], axis=-1)))
        return LONGEST_STEP * jnp.tanh(added / LONGEST_STEP)


def halving(volume: jax.Array) -> tuple[int, ...]:
    """Return the factor of the next coarser level: axes of an odd length stay."""
    return tuple(step if length % step == 0 else 1 for step, length in zip(HALVING, volume.shape[1:4], strict=True))


def descend(
    branch: Callable[[jax.Array, jax.Array], jax.Array], orders: Sequence[jax.Array], velocity: jax.Array, steps: int
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
        added = [branch(*evidence_of(images, sign * velocity)) for images, sign in zip(orders, (1, -1), strict=False)]
        velocity = velocity + (added[0] if len(added) == 1 else 0.5 * (added[0] - added[1]))
        velocities.append(velocity)
    return velocities


def evidence_of(images: jax.Array, velocity: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return what a step is told, and the step that the forces suggest, on the velocity's grid.

    Args:
        images: (B, D, H, W, 2 + 2 C): fixed, moving, and the segmentation of each with C classes or none; the first is
            background.
        velocity: (B, d, h, w, 3), voxels of its own grid, of the same field of view.

    Returns:
        (B, d, h, w, E): means of the fixed and the warped image and of both segmentations, see `mean_matrix`, the step
        that the images suggest and, with classes, that of the segmentations, see `gauss_newton`, the pull of the images
        and of each class but the background, the squares of their gradients, and the velocity. (B, d, h, w, 3): the
        step of the segmentations; without them none, because what images suggest depends on their brightness.
    """
    fixed_image, moving_image, segmentations = jnp.split(images, (1, 2), axis=-1)
    fixed_segmentation, moving_segmentation = jnp.split(segmentations, 2, axis=-1)
    fixed = jnp.concatenate([fixed_image, fixed_segmentation], axis=-1)
    moving = jnp.concatenate([moving_image, moving_segmentation], axis=-1)
    # As what the network returns is made of its velocity, see `of_velocity`.
    displacement = on_grid_of(
        images, jax.vmap(lambda field: upsample_displacement(integrate_velocity(field)))(widened(velocity))
    )
    warped = jax.vmap(warp_linear)(moving, displacement).astype(images.dtype)
    pull, square = pulls(_without_background(fixed), _without_background(warped))
    shape = velocity.shape[1:4]
    means = averaged(jnp.concatenate([fixed, warped, pull, square], axis=-1), shape)
    channels, pulled = fixed.shape[-1], square.shape[-1]
    seen, pull, square = jnp.split(means, (2 * channels, 2 * channels + 3 * pulled), axis=-1)
    weights = class_weights(seen[..., :channels], seen[..., channels:])
    pull = weights[:, None, None, None, None] * pull.reshape(*pull.shape[:-1], 3, pulled)
    square = weights[:, None, None, None] * square
    # A voxel of this grid is that many of the images'.
    to_grid = jnp.asarray([coarse / fine for coarse, fine in zip(shape, images.shape[1:4], strict=True)], images.dtype)
    steps = [to_grid * gauss_newton(pull[..., :1], square[..., :1])]
    suggested = jnp.zeros_like(steps[0])
    if segmentations.shape[-1]:
        suggested = to_grid * gauss_newton(pull[..., 1:], square[..., 1:])
        steps.append(suggested)
    scaled = [PULL_SCALE * pull.reshape(*pull.shape[:-2], -1), PULL_SCALE * square]
    return jnp.concatenate([seen, *steps, *scaled, velocity.astype(images.dtype)], axis=-1), suggested


def _without_background(image_and_segmentation: jax.Array) -> jax.Array:
    """Of the classes, all but the first, which is what the others are not."""
    return jnp.concatenate([image_and_segmentation[..., :1], image_and_segmentation[..., 2:]], axis=-1)


def class_weights(fixed: jax.Array, warped: jax.Array) -> jax.Array:
    """Return what the image and each class but the background count: 1, and the inverse of the size of the class.

    Sizes are relative to the mean size of the classes, as in the mean of Dice coefficients; see `LARGEST_WEIGHT`.

    Args:
        fixed: (B, d, h, w, 1 + C), an image and its segmentation, or (B, d, h, w, 1).
        warped: The same of the other image.

    Returns:
        (B, C), or (B, 1) without classes.
    """
    size = jnp.mean(fixed[..., 2:] + warped[..., 2:], axis=(1, 2, 3))
    mean = jnp.mean(size, axis=-1, keepdims=True) if size.shape[-1] else size
    weights = mean / jnp.maximum(size, mean / LARGEST_WEIGHT + jnp.finfo(size.dtype).tiny)
    return jnp.concatenate([jnp.ones_like(fixed[:, 0, 0, 0, :1]), weights], axis=-1)


def averaged(volume: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return means over what each voxel of a velocity's grid moves: (B, D, H, W, C) on (d, h, w), see `mean_matrix`."""
    batch, depth, height, width, channels = volume.shape
    along = [
        jnp.asarray(mean_matrix(*sizes), volume.dtype) for sizes in zip(shape, (depth, height, width), strict=True)
    ]
    # Products of matrices with what lies side by side in memory: nothing is transposed.
    volume = along[0] @ volume.reshape(batch, depth, height * width * channels)
    volume = along[1] @ volume.reshape(batch, shape[0], height, width * channels)
    return along[2] @ volume.reshape(batch, shape[0], shape[1], width, channels)


def mean_matrix(size: int, fine: int) -> np.ndarray:
    """Return the weights with which voxels of a line of images move with those of a velocity's.

    Args:
        size: Voxels of the velocity's line.
        fine: Voxels of the images' line, over the same field of view.

    Returns:
        (size, fine) float64; each row sums to 1. Its transpose, but for that, brings a field from the velocity's grid
        to the images': with aligned corners to twice the size, then with aligned faces, as in `of_velocity`.
    """
    doubled = 2 * size
    positions = np.clip((np.arange(fine) + 0.5) * doubled / fine - 0.5, 0, doubled - 1)
    to_images = np.maximum(1.0 - np.abs(positions[:, None] - np.arange(doubled)), 0.0)
    matrix = (to_images @ align_corners_matrix(size, doubled)).T
    return matrix / matrix.sum(axis=1, keepdims=True)


def pulls(fixed: jax.Array, warped: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return how each channel pulls at each voxel: `r g` and `|g|^2`, with r `fixed - warped` and g the gradient.

    The gradient is that of what is warped: a step along `r g` makes the square of r smaller.

    Args:
        fixed: (B, D, H, W, C).
        warped: (B, D, H, W, C).

    Returns:
        (B, D, H, W, 3 C), the channels of each component of the gradient side by side, and (B, D, H, W, C).
    """
    residual, gradients = fixed - warped, [central_difference(warped, axis) for axis in (1, 2, 3)]
    pull = jnp.concatenate([residual * gradient for gradient in gradients], axis=-1)
    return pull, sum((jnp.square(gradient) for gradient in gradients), jnp.zeros_like(warped))


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
