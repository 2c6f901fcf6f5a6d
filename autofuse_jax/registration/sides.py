"""One image of a pair at one level, as the loss sees it: what it is compared by, what is valid, what lies beyond."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from autofuse_jax.choices import DESCRIPTORS, MUTUAL_INFORMATION
from autofuse_jax.fields import voxel_grid
from autofuse_jax.losses.mind import REACH, descriptor_similarity, mind_ssc
from autofuse_jax.losses.mutual_information import mutual_information
from autofuse_jax.losses.similarity import NCC_WINDOW
from autofuse_jax.losses.valid_ncc import valid_ncc
from autofuse_jax.registration.coverage import add_rim, border_of, resize_valid
from autofuse_jax.registration.sampling import sample_rimmed

# Weight of a descriptor's difference and of mutual information beside smoothness: their forces are then about those of
# the correlation, for which the smoothness was chosen.
DESCRIPTOR_WEIGHT = 8.0
INFORMATION_WEIGHT = 1.0
# Voxels that enter a joint histogram, about: more cost time and change little.
HISTOGRAM_VOXELS = 250_000


class Side(NamedTuple):
    """One image of a pair at one level.

    Attributes:
        features: (D, H, W, C), what the images are compared by, 0 for background.
        valid: (D, H, W), in [0, 1].
        rimmed: (D + 2, H + 2, W + 2, C + 1), features and validity with what lies beyond, see `coverage.add_rim`.
        background: Scalar, the grey value that was taken off.
    """

    features: jax.Array
    valid: jax.Array
    rimmed: jax.Array
    background: jax.Array


def make_side(
    images: Sequence[np.ndarray], valid: np.ndarray, open_faces: np.ndarray, shape: Sequence[int], similarity: str
) -> Side:
    """Bring an image to a level.

    Args:
        images: (D, H, W), in [0, 1]: the image, or the forms in which it is compared one by one.
        valid: (D, H, W), in [0, 1].
        open_faces: bool (3, 2), `Border.open` of the image.
        shape: Shape of the level, over the same field of view.
        similarity: Name of the similarity, one of `choices.SIMILARITIES`.

    Returns:
        The side.
    """
    backgrounds = [np.float32(border_of(image, valid).background) for image in images]
    resized = [resize_valid(image - least, valid, shape) for image, least in zip(images, backgrounds, strict=True)]
    features, valid = np.stack([values for values, _ in resized], axis=-1), resized[0][1]
    if similarity == DESCRIPTORS:
        # Of a flat background all entries are 1. A descriptor is valid where all that it reads is.
        features = np.asarray(_descriptors(jnp.asarray(features[..., 0]))) - 1.0
        valid = ndimage.minimum_filter(valid, size=2 * REACH + 1, mode='nearest')
    return Side(
        jnp.asarray(features),
        jnp.asarray(valid),
        jnp.asarray(add_rim(features, valid, open_faces)),
        jnp.asarray(backgrounds[0]),
    )


_descriptors = jax.jit(mind_ssc)


def similarity_of(
    name: str, fixed: Side, moving: Side, displacement: jax.Array, *, window: int = NCC_WINDOW
) -> jax.Array:
    """Return how similar the moved image is to the fixed one where both are valid.

    Args:
        name: One of `choices.SIMILARITIES`.
        fixed: The fixed image.
        moving: The moving image on the same grid.
        displacement: (D, H, W, 3), in voxels.
        window: Window of the correlation, voxels.

    Returns:
        A scalar; larger is more similar.
    """
    positions = voxel_grid(displacement.shape[:3]) + displacement
    if name == MUTUAL_INFORMATION:
        # On a lattice: a joint histogram needs no more samples.
        step = max(1, round((fixed.valid.size / HISTOGRAM_VOXELS) ** (1 / 3)))
        lattice = (slice(None, None, step),) * 3
        values, inside = sample_rimmed(moving.rimmed, positions[lattice])
        valid = fixed.valid[lattice] * jax.lax.stop_gradient(inside)
        first, second = fixed.features[lattice] + fixed.background, values + moving.background
        information = mutual_information(first.reshape(-1), second.reshape(-1), valid.reshape(-1))
        return INFORMATION_WEIGHT * jnp.mean(valid) * information
    values, inside = sample_rimmed(moving.rimmed, positions)
    valid = fixed.valid * inside
    if name == DESCRIPTORS:
        return DESCRIPTOR_WEIGHT * descriptor_similarity(fixed.features, values, valid)
    forms = range(values.shape[-1])
    correlations = [valid_ncc(fixed.features[..., k], values[..., k], valid, window=window) for k in forms]
    return jnp.mean(jnp.stack(correlations))
