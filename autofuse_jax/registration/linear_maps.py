"""Rigid and affine maps of space from a few parameters that all have the same unit: millimetres of motion."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.choices import AFFINE, RIGID, TRANSLATION

# Number of parameters: translation 3, rotation 3, logarithms of scale and shear 6.
PARAMETER_COUNT = {TRANSLATION: 3, RIGID: 6, AFFINE: 12}
# Those of translation x, y, the rotation about the third axis, log-scales x, y and the shear xy.
IN_PLANE = np.isin(np.arange(12), (0, 1, 5, 6, 7, 9))


def linear_map(params: jax.Array, radius: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Return the matrix and the shift that parameters stand for.

    `matrix = expm(G / radius)` with G = skew(rotation) + symmetric(scale and shear): one unit of any parameter moves a
    point at distance `radius` from the centre by about one millimetre, so that one learning rate fits all.

    Args:
        params: (12,): translation, rotation, log-scales, shears. What a kind lacks is 0.
        radius: Scalar, millimetres, above 0.

    Returns:
        matrix (3, 3) and shift (3,) in millimetres, of `p -> matrix (p - centre) + centre + shift`.
    """
    shift, (a, b, c), (x, y, z), (xy, xz, yz) = params[:3], params[3:6], params[6:9], params[9:12]
    rows = [[x, xy - c, xz + b], [xy + c, y, yz - a], [xz - b, yz + a, z]]
    generator = jnp.stack([jnp.stack(row) for row in rows]) / radius
    # GPUs round factors of products to 10 bits unless told otherwise: a tenth of a voxel in a coordinate.
    with jax.default_matmul_precision('float32'):
        return jax.scipy.linalg.expm(generator), shift


def world_matrix(params: np.ndarray, radius: float, centre: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the world map of parameters that refine a start: `start @ (p -> matrix (p - centre) + centre + shift)`.

    Args:
        params: (12,).
        radius: Millimetres.
        centre: (3,), world position that the matrix leaves where it is.
        start: (4, 4), where the refinement began, from the fixed to the moving world.

    Returns:
        float64 (4, 4), from the fixed to the moving world.
    """
    matrix, shift = (np.asarray(part, np.float64) for part in linear_map(jnp.asarray(params, jnp.float32), radius))
    refinement = np.eye(4)
    refinement[:3, :3] = matrix
    refinement[:3, 3] = centre + shift - matrix @ centre
    return start @ refinement


def free_parameters(kind: str, *, in_plane: bool = False) -> np.ndarray:
    """Return which of the 12 parameters a kind of map may change, (12,) of 0 and 1.

    Args:
        kind: 'translation', 'rigid' or 'affine'.
        in_plane: Whether the map leaves planes across the third axis where they are; default False.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind not in PARAMETER_COUNT:
        raise ValueError(f'kind is {kind!r}, expected one of {tuple(PARAMETER_COUNT)}.')
    free = np.arange(12) < PARAMETER_COUNT[kind]
    return (free & IN_PLANE if in_plane else free).astype(np.float32)
