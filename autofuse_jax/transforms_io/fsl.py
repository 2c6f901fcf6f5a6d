"""Dense transforms as FSL's applywarp takes them: relative FNIRT fields, millimetres in FSL's own frame.

FSL counts along the array axes in millimetres from the first voxel, and from the other end of the first axis where the
determinant of the affine is positive: `S(x) = spacing * (flip(x))`. Value at voxel x: `d(x) = S_m(y) - S_f(x)`, where y
is the voxel of the moving image that is shown at x. The array is (D, H, W, 3) with FSL's intent code 2006.
"""

import os

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, grid_points, to_voxels, to_world, voxel_indices
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.field_files import TransformFile, finite_field, store_nifti

FIELD_INTENT = 2006
# Coefficients of splines and cosines, from which FSL's fnirtfileutils makes fields.
COEFFICIENT_INTENTS = (2007, 2008, 2009, 2016, 2017)


def write_fsl(path: str | os.PathLike, transform: DenseTransform, moving: ImageGrid) -> None:
    """Write a dense transform for FSL.

    Args:
        path: Ends in .nii or .nii.gz.
        transform: The transform, on the fixed grid.
        moving: Grid of the moving image.

    Raises:
        OSError: The file cannot be written.
    """
    fixed = transform.grid
    index = voxel_indices(fixed.shape)
    target = to_voxels(moving.affine, transform.map_points(grid_points(fixed)))
    shift = to_world(fsl_frame(moving), target) - to_world(fsl_frame(fixed), index)
    store_nifti(path, shift.astype(np.float32), transform.affine, FIELD_INTENT)


def read_fsl(file: TransformFile, moving: ImageGrid) -> DenseTransform:
    """Turn the content of a relative FNIRT field into a transform.

    Args:
        file: The opened file, (D, H, W, 3).
        moving: Grid of the moving image.

    Returns:
        The transform, on the grid of the file.

    Raises:
        UserError: Spline coefficients, absolute coordinates, another shape, or values that are not finite.
    """
    if file.intent in COEFFICIENT_INTENTS:
        raise UserError(
            f'{file.path} holds coefficients of FNIRT, not a field',
            fix='make a field of it: fnirtfileutils --in=COEFFICIENTS --ref=FIXED --out=FIELD --withaff',
        )
    if file.array.ndim != 4 or file.array.shape[3] != 3 or file.affine is None:
        raise UserError(
            f'{file.path} has shape {file.array.shape}',
            expected='(D, H, W, 3) with an affine for a field of FNIRT',
            fix='name its real --convention',
        )
    shift = finite_field(file.path, file.array)
    fixed = file.grid
    index = voxel_indices(fixed.shape)
    here = to_world(fsl_frame(fixed), index)
    # No header tells them apart; FSL itself looks at which reading varies less, too.
    if _spread(shift) > _spread(shift - here):
        raise UserError(
            f'{file.path} holds absolute coordinates',
            expected='relative displacements',
            fix='convert it: convertwarp --absin --relout --ref=FIXED --warp1=FIELD --out=RELATIVE',
        )
    target = to_voxels(fsl_frame(moving), here + shift)
    world = to_world(moving.affine, target)
    return DenseTransform((to_voxels(fixed.affine, world) - index).astype(np.float32), fixed.affine)


def fsl_frame(grid: ImageGrid) -> np.ndarray:
    """Return the (4, 4) matrix S from voxel indices of a grid to FSL's millimetres."""
    frame = np.diag([*grid.spacing, 1.0])
    if np.linalg.det(grid.affine[:3, :3]) > 0:
        frame[0] = [-grid.spacing[0], 0, 0, grid.spacing[0] * (grid.shape[0] - 1)]
    return frame


def _spread(field: np.ndarray) -> float:
    return float(field.reshape(-1, 3).std(axis=0).sum())
