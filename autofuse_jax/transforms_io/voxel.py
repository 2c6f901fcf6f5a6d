"""Dense transforms in the convention of this package: voxels of the fixed grid, (D, H, W, 3), pull.

`moved(x) = moving(x + u(x))` on the fixed grid, as VoxelMorph stores its warps, too: NIfTI with the fixed affine, or
npz with the array `vol`. Where the moving image lies on another grid, x + u(x) is a place of the fixed grid, and the
two affines lead from there to the moving image.
"""

import os

import numpy as np

from autofuse_jax.data.formats import AFFINE_KEY, IMAGE_KEY, is_npz, store_npz
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.field_files import TransformFile, finite_field, store_nifti
from autofuse_jax.transforms_io.itk import VECTOR_INTENT

# By this name of the intent a file of ours is recognised without its sidecar.
VOXEL_INTENT_NAME = 'autofuse voxel'


def write_voxel(path: str | os.PathLike, transform: DenseTransform) -> None:
    """Write a dense transform in voxels of its grid.

    Args:
        path: Ends in .nii, .nii.gz or .npz.
        transform: The transform, on the fixed grid.

    Raises:
        OSError: The file cannot be written.
    """
    displacement = np.asarray(transform.displacement, np.float32)
    if is_npz(path):
        store_npz(path, {IMAGE_KEY: displacement, AFFINE_KEY: np.asarray(transform.affine, np.float64)})
        return
    store_nifti(path, displacement, transform.affine, VECTOR_INTENT, VOXEL_INTENT_NAME)


def read_voxel(file: TransformFile, fixed: ImageGrid) -> DenseTransform:
    """Turn the content of a voxel displacement field into a transform.

    Args:
        file: The opened file, (D, H, W, 3) or (3, D, H, W).
        fixed: Grid of the fixed image.

    Returns:
        The transform, on the fixed grid.

    Raises:
        UserError: Another shape, or values that are not finite.
    """
    field = components_last(file)
    if field.shape[:3] != tuple(fixed.shape):
        raise UserError(
            f'{file.path} holds a field of {field.shape[:3]} voxels',
            expected=f'{tuple(fixed.shape)}, the shape of the fixed image',
            fix='name the fixed image it belongs to',
        )
    return DenseTransform(finite_field(file.path, field).astype(np.float32), fixed.affine)


def components_last(file: TransformFile) -> np.ndarray:
    """Return a field as (D, H, W, 3), whether its components come last or first in the file.

    Raises:
        UserError: Neither axis has three components.
    """
    array = file.array
    # (D, H, W, 1, 3) is how tools with five axes in mind store it.
    if array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]
    if array.ndim != 4 or 3 not in (array.shape[0], array.shape[-1]):
        raise UserError(
            f'{file.path} has shape {file.array.shape}',
            expected='(D, H, W, 3) or (3, D, H, W) for a displacement field',
            fix='check that it is a transform and not an image',
        )
    return array if array.shape[-1] == 3 else np.moveaxis(array, 0, -1)
