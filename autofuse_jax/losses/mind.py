"""Modality independent neighbourhood descriptors: what an image looks like around a voxel, whatever its contrast."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.losses.similarity import box_sum

# Side of the patches that are compared, voxels.
PATCH = 3
# Distance of the centres of the patches from the voxel, voxels.
DISTANCE = 2
# Limits of a voxel's mean distance, as shares of the mean of the image: flat regions stay finite.
SMALLEST_VARIANCE, LARGEST_VARIANCE = 0.001, 1000.0
# Voxels around one that its descriptor reads.
REACH = DISTANCE + PATCH // 2


def _neighbour_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """The 12 pairs of the six neighbours of a voxel that are no opposites: at a distance of sqrt(2)."""
    six = [sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (1, -1)]
    return [(a, b) for a, b in itertools.combinations(six, 2) if np.abs(a - b).sum() == 2 and np.dot(a, b) == 0]


PAIRS = _neighbour_pairs()
CHANNELS = len(PAIRS)


def mind_ssc(image: jax.Array) -> jax.Array:
    """Return the self-similarity context of each voxel: how alike the patches around it are, two by two.

    `M_k(x) = exp(-(d_k(x) - min_j d_j(x)) / V(x))`, d_k being the mean squared difference of the patches of 3^3 voxels
    around the two neighbours of pair k, of the 12 pairs of neighbours of x at a distance of 2 voxels that are no
    opposites, and V(x) the mean of d over the pairs, within 0.001 and 1000 of its mean over the image. Beyond the
    border the outermost voxels are repeated.

    Args:
        image: (D, H, W), any range: another scale or offset changes nothing.

    Returns:
        float32 (D, H, W, 12), in (0, 1].

    Reference:
        Heinrich et al., Towards realtime multimodal fusion for image-guided interventions using self-similarities,
        MICCAI 2013.

    Example:
        >>> image = jax.random.uniform(jax.random.key(0), (8, 8, 8))
        >>> bool(jnp.allclose(mind_ssc(image), mind_ssc(5.0 - 3.0 * image), atol=1e-5))
        True
    """
    padded = jnp.pad(image, REACH, mode='edge')
    distances = []
    for first, second in PAIRS:
        difference = _shifted(padded, first) - _shifted(padded, second)
        distances.append(_inner(box_sum(difference * difference, PATCH) / PATCH**3, PATCH // 2))
    stack = jnp.stack(distances, axis=-1)
    stack = stack - jnp.min(stack, axis=-1, keepdims=True)
    variance = jnp.mean(stack, axis=-1, keepdims=True)
    mean = jnp.mean(variance)
    variance = jnp.clip(variance, SMALLEST_VARIANCE * mean, LARGEST_VARIANCE * mean)
    # Of a flat image all distances are zero, and so is the gradient.
    return jnp.exp(-stack / jnp.where(variance > 0, variance, 1.0))


def descriptor_similarity(fixed: jax.Array, warped: jax.Array, valid: jax.Array) -> jax.Array:
    """Return the negative mean squared difference of descriptors over valid voxels, divided by all voxels.

    `-1/N sum_x w(x) 1/K sum_k (F_k(x) - W_k(x))^2`. The descriptors of the moving image are warped, not computed anew
    of the warped image: a rotation by a small angle hardly changes them.

    Args:
        fixed: (D, H, W, K).
        warped: (D, H, W, K).
        valid: (D, H, W), in [0, 1]. No gradient flows to it.

    Returns:
        A scalar, at most 0; larger is more similar.
    """
    squares = jnp.mean(jnp.square(fixed - warped), axis=-1)
    return -jnp.mean(jax.lax.stop_gradient(valid) * squares)


def _shifted(padded: jax.Array, direction: np.ndarray) -> jax.Array:
    """The image of voxels `DISTANCE` away, with a rim of half a patch."""
    rim = PATCH // 2
    starts = [REACH - rim + DISTANCE * int(step) for step in direction]
    sizes = [size - 2 * (REACH - rim) for size in padded.shape]
    return jax.lax.dynamic_slice(padded, starts, sizes)


def _inner(array: jax.Array, rim: int) -> jax.Array:
    return array[rim:-rim, rim:-rim, rim:-rim]
