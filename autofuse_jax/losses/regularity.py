"""Regularity of the deformation: divergence of the velocity's distribution from its prior, and folding."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.fields import jacobian_determinant, jacobian_determinant_official
from autofuse_jax.metrics.determinants import DETERMINANTS

PRIOR_LAMBDA = 50.0
JACOBIAN_REDUCTIONS = ('sum', 'mean')


def velocity_kl(mean: jax.Array, log_variance: jax.Array, *, prior_lambda: float = PRIOR_LAMBDA) -> jax.Array:
    """Return the Kullback-Leibler divergence of the predicted velocity from a smooth prior, up to a constant.

    `KL = 3/2 * (mean(lambda Deg exp(s) - s) + lambda P)`, `P = 1/6 * sum_a mean((forward difference of mu along a)^2)`,
    where Deg counts a voxel's 6-neighbours inside the grid: the diagonal of the graph Laplacian of the prior's
    precision.

    Args:
        mean: mu, (D, H, W, 3), in voxels.
        log_variance: s, (D, H, W, 3), logarithm of voxels squared.
        prior_lambda: Smoothing precision lambda, positive; default 50.

    Returns:
        A scalar. Its value has an arbitrary offset and may be of either sign.

    Reference:
        Dalca et al., MICCAI 2018; Meng et al., AutoFuse, Eq. 1.

    Example:
        >>> still = jnp.zeros((4, 4, 4, 3))
        >>> round(float(velocity_kl(still, still)), 1)
        337.5
    """
    degree = jnp.asarray(_neighbour_count(mean.shape[:3]), mean.dtype)[..., None]
    variance_part = jnp.mean(prior_lambda * degree * jnp.exp(log_variance) - log_variance)
    smoothness = sum(jnp.mean(jnp.square(jnp.diff(mean, axis=axis))) for axis in range(3)) / 6.0
    return 1.5 * (variance_part + prior_lambda * smoothness)


def gradient_penalty(field: jax.Array, *, spacing: jax.Array | None = None) -> jax.Array:
    """Return the mean squared gradient of a field: `1/3 * sum_a sum_c mean((s_c / s_a * forward difference)^2) / 3`.

    The difference is of component c along axis a in voxels; with the voxel sizes s it is the strain in space, so that
    thick slices are neither freer nor stiffer than the pixels within them.

    Args:
        field: (D, H, W, 3), in voxels.
        spacing: (3,), voxel size along each axis, in any unit; default None is the same along all.

    Returns:
        A scalar, at least 0; 0 for a field that is the same everywhere.

    Example:
        >>> stretch = jnp.zeros((4, 4, 4, 3)).at[..., 0].set(jnp.arange(4.0)[:, None, None])
        >>> round(float(gradient_penalty(stretch)), 3)
        0.111
    """
    scaled = field if spacing is None else field * spacing
    steps = [1.0] * 3 if spacing is None else [spacing[axis] for axis in range(3)]
    return jnp.asarray(sum(jnp.mean(jnp.square(jnp.diff(scaled, axis=axis) / steps[axis])) for axis in range(3))) / 3.0


def negative_jacobian_loss(
    displacement: jax.Array, *, reduction: str = 'sum', determinant: str = 'correct'
) -> jax.Array:
    """Return how far the Jacobian determinant falls below zero: `sum_x max(-det J(x), 0)`.

    Args:
        displacement: (D, H, W, 3), in voxels.
        reduction: 'sum' (default, as in the official code: the value grows with the volume) or 'mean'.
        determinant: 'correct' (default), or 'official' for the quantity that the official code computes in its place
            and that does not see folds along the first two axes, see `fields.jacobian_determinant_official`.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: `reduction` or `determinant` is unknown.

    Reference:
        Mok and Chung, CVPR 2020; Meng et al., AutoFuse, Eq. 1.

    Example:
        >>> fold = jnp.zeros((3, 3, 3, 3)).at[..., 0].set(-2.0 * jnp.arange(3.0)[:, None, None])
        >>> float(negative_jacobian_loss(fold, reduction='mean'))
        1.0
    """
    if reduction not in JACOBIAN_REDUCTIONS:
        raise ValueError(f'reduction is {reduction!r}, expected one of {JACOBIAN_REDUCTIONS}.')
    if determinant not in DETERMINANTS:
        raise ValueError(f'determinant is {determinant!r}, expected one of {tuple(DETERMINANTS)}.')
    determinants = {'correct': jacobian_determinant, 'official': jacobian_determinant_official}
    negative = jax.nn.relu(-determinants[determinant](displacement))
    return jnp.sum(negative) if reduction == 'sum' else jnp.mean(negative)


def _neighbour_count(shape: tuple[int, ...]) -> np.ndarray:
    """Count each voxel's 6-neighbours inside the grid: 3 in a corner, 6 in the interior."""
    count = np.full(shape, 6)
    for axis in range(3):
        border = np.moveaxis(count, axis, 0)
        border[0] -= 1
        border[-1] -= 1
    return count
