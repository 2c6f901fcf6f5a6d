"""Dense transforms as the Learn2Reg challenge stores them: `disp_FFFF_MMMM`, voxels in array order.

Value at voxel x: the index in the moving image minus the index in the fixed image, `d(x) = M^-1 T(A x) - x`, with the
affines A of the fixed and M of the moving image and the transform T in millimetres. The evaluator samples the moving
array at x + d(x) and never looks at an affine. Where both images share a grid, d is our displacement.

Files of (D, H, W, 3) are at full resolution. The first challenges asked for npz files of (3, D/2, H/2, W/2): each
component was shrunk by spline interpolation, but its values stayed voxels of the full grid, and the evaluator enlarged
it by `scipy.ndimage.zoom(component, 2, order=2)`. Such files are read in the same way.
"""

import os

import numpy as np
from scipy import ndimage

from autofuse_jax.data.formats import is_npz, store_npz
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, grid_points, to_voxels, to_world, voxel_indices
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.field_files import NO_INTENT, UNNAMED_KEY, TransformFile, finite_field, store_nifti
from autofuse_jax.transforms_io.voxel import components_last

# Spline order with which the evaluator enlarges fields of half resolution.
ENLARGING_ORDER = 2


def write_learn2reg(path: str | os.PathLike, transform: DenseTransform, moving: ImageGrid) -> None:
    """Write a dense transform for Learn2Reg, float32 as NIfTI and float16 as npz, as the challenge asks for.

    Args:
        path: Ends in .nii, .nii.gz or .npz; the challenge expects the name disp_FFFF_MMMM.
        transform: The transform, on the fixed grid.
        moving: Grid of the moving image.

    Raises:
        UserError: A value is beyond the range of float16.
        OSError: The file cannot be written.
    """
    fixed = transform.grid
    index = voxel_indices(fixed.shape)
    shift = to_voxels(moving.affine, transform.map_points(grid_points(fixed))) - index
    if not is_npz(path):
        store_nifti(path, shift.astype(np.float32), transform.affine, NO_INTENT)
        return
    if np.abs(shift).max() > np.finfo(np.float16).max:
        raise UserError(f'{path}: displacements reach {np.abs(shift).max():.0f} voxels', expected='what float16 holds')
    store_npz(path, {UNNAMED_KEY: shift.astype(np.float16)})


def read_learn2reg(file: TransformFile, fixed: ImageGrid, moving: ImageGrid) -> DenseTransform:
    """Turn the content of a Learn2Reg field into a transform.

    Args:
        file: The opened file, (D, H, W, 3) or (3, D, H, W), at full or half resolution.
        fixed: Grid of the fixed image.
        moving: Grid of the moving image.

    Returns:
        The transform, on the fixed grid.

    Raises:
        UserError: Another shape, or values that are not finite.
    """
    shift = finite_field(file.path, components_last(file))
    if tuple(2 * size for size in shift.shape[:3]) == tuple(fixed.shape):
        shift = np.stack([ndimage.zoom(shift[..., axis], 2, order=ENLARGING_ORDER) for axis in range(3)], axis=-1)
    if shift.shape[:3] != tuple(fixed.shape):
        raise UserError(
            f'{file.path} holds a field of {shift.shape[:3]} voxels',
            expected=f'{tuple(fixed.shape)}, the shape of the fixed image, or half of it',
            fix='name the fixed image it belongs to',
        )
    index = voxel_indices(fixed.shape)
    world = to_world(moving.affine, index + shift)
    return DenseTransform((to_voxels(fixed.affine, world) - index).astype(np.float32), fixed.affine)
