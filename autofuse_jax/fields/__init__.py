"""Pure functions on displacement and velocity fields of one sample; batch them with `jax.vmap`.

A field has shape (D, H, W, 3). Its last axis is the displacement along (D, H, W), in voxels of the grid it lives on,
in pull direction: `warped(x) = moving(x + u(x))`.
"""

from autofuse_jax.fields.compose import compose
from autofuse_jax.fields.coordinates import voxel_grid
from autofuse_jax.fields.integrate import integrate_velocity, invert_velocity
from autofuse_jax.fields.jacobian import jacobian_determinant, jacobian_determinant_official
from autofuse_jax.fields.resize import resample_displacement, resize_align_corners, upsample_displacement
from autofuse_jax.fields.warp import warp_labels, warp_linear, warp_nearest

__all__ = [
    'compose',
    'integrate_velocity',
    'invert_velocity',
    'jacobian_determinant',
    'jacobian_determinant_official',
    'resample_displacement',
    'resize_align_corners',
    'upsample_displacement',
    'voxel_grid',
    'warp_labels',
    'warp_linear',
    'warp_nearest',
]
