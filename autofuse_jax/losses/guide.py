"""What guides a deformation besides the images: classes that should meet, and points that belong together."""

import jax
import jax.numpy as jnp

from autofuse_jax.fields import warp_linear

# A class counts from this many voxels on both images: a soft map may carry a trace of any class.
PRESENT_VOXELS = 0.5
# Classes that are warped at once: few enough that a volume of each fits in memory beside the images.
CLASSES_AT_ONCE = 4


def class_guide_loss(
    fixed: jax.Array, moving: jax.Array, displacement: jax.Array, *, weights: jax.Array | None = None
) -> jax.Array:
    """Return one minus the soft Dice coefficient of classes of two images, averaged over the classes.

    `1 - mean_k 2 sum(w p_k q_k) / sum(w (p_k^2 + q_k^2))` with q = moving o (id + u), over the classes k that both
    images hold. With squares in the denominator, equal maps give 0 even where they are soft.

    Args:
        fixed: p, (D, H, W, C), share of each class in each voxel, in [0, 1], without the background.
        moving: (D, H, W, C), likewise.
        displacement: u, (D, H, W, 3), in voxels, pull.
        weights: w, (D, H, W), at least 0, how much each voxel counts; None: all alike.

    Returns:
        A scalar in [0, 1]; 0 where no class is in both.

    Reference:
        Milletari et al., V-Net, 3DV 2016 (with squares).
    """
    classes = fixed.shape[-1]
    groups = -(-classes // CLASSES_AT_ONCE)
    padding = ((0, 0),) * 3 + ((0, groups * CLASSES_AT_ONCE - classes),)
    if groups == 1:
        dice, present = _class_dice(fixed, moving, displacement, weights)
    else:
        map_groups = [
            jnp.moveaxis(jnp.pad(maps, padding).reshape(*maps.shape[:3], groups, CLASSES_AT_ONCE), 3, 0)
            for maps in (fixed, moving)
        ]
        # Recomputed in the reverse pass, so that one group at a time is in memory.
        one_group = jax.checkpoint(lambda maps: _class_dice(maps[0], maps[1], displacement, weights))
        dice, present = jax.lax.map(one_group, tuple(map_groups))
    count = jnp.sum(present)
    return jnp.where(count > 0, 1.0 - jnp.sum(dice * present) / jnp.maximum(count, 1.0), 0.0)


def _class_dice(
    fixed: jax.Array, moving: jax.Array, displacement: jax.Array, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Dice of each class, and 1 where both images hold it, else 0."""
    weight = jnp.ones((*fixed.shape[:3], 1), fixed.dtype) if weights is None else weights[..., None]
    warped = warp_linear(moving, displacement)
    axes = (0, 1, 2)
    overlap = jnp.sum(weight * fixed * warped, axes)
    size = jnp.sum(weight * (fixed * fixed + warped * warped), axes)
    presence = [jnp.sum(maps, axes) >= PRESENT_VOXELS for maps in (fixed, moving)]
    present = (presence[0] & presence[1]).astype(fixed.dtype)
    return 2.0 * overlap / jnp.where(size > 0, size, 1.0), present


def point_guide_loss(fixed: jax.Array, moving: jax.Array, displacement: jax.Array, *, spacing: jax.Array) -> jax.Array:
    """Return how far points of the fixed image are brought from their counterparts, as a mean over the points.

    `mean_n (sqrt(1 + d_n^2) - 1)`, `d_n = |spacing (x_n + u(x_n) - y_n)|` in millimetres: the square for small
    distances, and no more than the distance for large ones, so that one wrong pair does not rule the others.

    Args:
        fixed: x, (N, 3), in voxels.
        moving: y, (N, 3), in voxels of the same grid.
        displacement: u, (D, H, W, 3), in voxels, pull.
        spacing: (3,), voxel size in millimetres.

    Returns:
        A scalar, at least 0, in millimetres.
    """
    apart = spacing * (fixed + _sample(displacement, fixed) - moving)
    return jnp.mean(jnp.sqrt(1.0 + jnp.sum(apart * apart, axis=-1)) - 1.0)


def _sample(field: jax.Array, points: jax.Array) -> jax.Array:
    """(N, 3) values of a field at points in voxels, linear, continued constantly outside."""
    size = jnp.asarray(field.shape[:3])
    inside = jnp.clip(points, 0.0, size - 1.0)
    base = jnp.clip(jnp.floor(inside).astype(jnp.int32), 0, size - 1)
    total = jnp.zeros((points.shape[0], field.shape[-1]), field.dtype)
    for corner in range(8):
        step = jnp.asarray([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        share = jnp.prod(jnp.where(step == 1, inside - base, 1.0 - (inside - base)), axis=-1)
        place = jnp.minimum(base + step, size - 1)
        total += share[:, None] * field[place[:, 0], place[:, 1], place[:, 2]]
    return total
