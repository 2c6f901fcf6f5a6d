"""The loss of a linear alignment at one level: how unlike the images are under a linear map, where both are valid."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.choices import CORRELATION
from autofuse_jax.fields import voxel_grid
from autofuse_jax.losses.mutual_information import mutual_information
from autofuse_jax.losses.valid_ncc import valid_ncc
from autofuse_jax.registration.kept_programs import KeptProgram
from autofuse_jax.registration.linear_maps import free_parameters, linear_map
from autofuse_jax.registration.pyramid import Level
from autofuse_jax.registration.sampling import sample_rimmed

# Share of the smaller image within the other that a map must give to be compared by its similarity alone.
ENOUGH_SHARED = 0.7


# Weight of the squared log-scales and shears of a refinement: a change of size by 10 % costs as much as 0.003 of
# correlation, one by half as much as 0.15.
STRAIN_PRIOR = 0.1


class Frame(NamedTuple):
    """What linear maps refer to.

    Attributes:
        centre: (3,), world position that rotations leave where it is.
        radius: Distance from it at which a unit of a parameter moves a point by a millimetre.
    """

    centre: np.ndarray
    radius: float


class AlignmentData(NamedTuple):
    """What the loss of a level needs; all arrays, so that levels of equal shape share what is compiled.

    Attributes:
        fixed: (D, H, W).
        weights: (D, H, W), how much each voxel of it counts.
        moving: (D' + 2, H' + 2, W' + 2, 2), with its rim.
        last: (3,), last layer of the rim.
        backgrounds: (2,), what was taken off the fixed and the moving image.
        to_world: (3, 4), fixed voxels to millimetres from the centre.
        to_moving: (3, 4), millimetres from the centre, refined, to voxels of the moving level.
        free: (12,), 1 for parameters that may change.
        radius: Radius of the frame.
    """

    fixed: jax.Array
    weights: jax.Array
    moving: jax.Array
    last: jax.Array
    backgrounds: jax.Array
    to_world: jax.Array
    to_moving: jax.Array
    free: jax.Array
    radius: jax.Array


def alignment_loss(params: jax.Array, data: AlignmentData, similarity: str, step: jax.Array | int = 0) -> jax.Array:
    """Return the negative similarity of the images under a linear map, over what is valid in both.

    To it comes `STRAIN_PRIOR |log-scales and shears|^2`: where little is valid, any part of an image looks like any
    other that is small enough.

    Args:
        params: (12,), of `linear_maps.linear_map`.
        data: Data of the level.
        similarity: One of `choices.SIMILARITIES`.
        step: Number of the step; all lower the same loss.

    Returns:
        A scalar.
    """
    del step
    # Scales and shears are lengths at the radius of the frame.
    strain = params[6:] * data.free[6:] / data.radius
    return _loss_and_valid(params, data, similarity)[0] + STRAIN_PRIOR * jnp.sum(strain * strain)


def _loss_and_valid(params: jax.Array, data: AlignmentData, similarity: str) -> tuple[jax.Array, jax.Array]:
    matrix, shift = linear_map(params * data.free, data.radius)
    # One affine map from fixed to moving voxels; the sum of positions is what is differentiated.
    with jax.default_matmul_precision('float32'):
        linear = data.to_moving[:, :3] @ matrix
        combined = linear @ data.to_world[:, :3]
        offset = linear @ data.to_world[:, 3] + data.to_moving[:, :3] @ shift + data.to_moving[:, 3]
        positions = voxel_grid(data.fixed.shape) @ combined.T + offset
    values, inside = sample_rimmed(data.moving, positions, data.last)
    valid = data.weights * jax.lax.stop_gradient(inside)
    if similarity == CORRELATION:
        return -valid_ncc(data.fixed, values[..., 0], valid, over_all=False), valid
    fixed, warped = (
        (image + background).reshape(-1)
        for image, background in zip((data.fixed, values[..., 0]), data.backgrounds, strict=True)
    )
    return -mutual_information(fixed, warped, valid.reshape(-1)), valid


def alignment_data(
    level: Sequence[Level], matrix: np.ndarray, frame: Frame, kind: str, *, in_plane: bool = False
) -> AlignmentData:
    """Return what the loss of a level needs.

    Args:
        level: The fixed and the moving image.
        matrix: float64 (4, 4), the map that is refined, from the fixed to the moving world.
        frame: Centre and radius.
        kind: Kind of the refinement, of `linear_maps.free_parameters`.
        in_plane: Option of `linear_maps.free_parameters`.
    """
    fixed, moving = level
    from_centre = np.eye(4)
    from_centre[:3, 3] = frame.centre
    world = np.linalg.inv(from_centre) @ fixed.grid.affine
    return AlignmentData(
        fixed=jnp.asarray(fixed.image),
        weights=jnp.asarray(fixed.inside),
        moving=jnp.asarray(moving.rimmed),
        last=jnp.asarray(np.asarray(moving.grid.shape) + 1, jnp.float32),
        backgrounds=jnp.asarray([fixed.background, moving.background], jnp.float32),
        to_world=jnp.asarray(world[:3], jnp.float32),
        to_moving=jnp.asarray(_to_moving(moving, matrix, frame), jnp.float32),
        free=jnp.asarray(free_parameters(kind, in_plane=in_plane)),
        radius=jnp.asarray(frame.radius, jnp.float32),
    )


def similarities(
    level: Sequence[Level], matrices: Sequence[np.ndarray], frame: Frame, kind: str, similarity: str
) -> np.ndarray:
    """Return how similar the images are under each of several maps.

    Each value is the similarity of what is valid in both, times the share of the smaller image that this is, up to
    `ENOUGH_SHARED`: a few voxels that happen to fit are no good match, and a part of an image need not cover more.

    Args:
        level: The fixed and the moving image.
        matrices: float64 (4, 4) each, from the fixed to the moving world.
        frame: Centre and radius.
        kind: Kind of the alignment.
        similarity: One of `choices.SIMILARITIES`.

    Returns:
        (K,), larger is more similar.
    """
    data = alignment_data(level, matrices[0], frame, kind)
    maps = np.stack([_to_moving(level[1], matrix, frame) for matrix in matrices])
    values, counts = (np.asarray(a) for a in _similarities(data, jnp.asarray(maps, jnp.float32), similarity=similarity))
    fixed, moving = (image.inside.sum(dtype=np.float64) * image.grid.voxel_mm3 for image in level)
    shared = counts * level[0].grid.voxel_mm3 / max(min(fixed, moving), np.finfo(float).tiny)
    return values * np.minimum(shared / ENOUGH_SHARED, 1.0)


def _each(data: AlignmentData, maps: jax.Array, *, similarity: str) -> tuple[jax.Array, jax.Array]:
    def one(to_moving: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss, valid = _loss_and_valid(jnp.zeros(12, jnp.float32), data._replace(to_moving=to_moving), similarity)
        return -loss, jnp.sum(valid)

    return jax.lax.map(one, maps)


_similarities = KeptProgram(_each, ('similarity',), lambda data, maps: (0, 0))


def _to_moving(moving: Level, matrix: np.ndarray, frame: Frame) -> np.ndarray:
    from_centre = np.eye(4)
    from_centre[:3, 3] = frame.centre
    return (np.linalg.inv(moving.grid.affine) @ matrix @ from_centre)[:3]
