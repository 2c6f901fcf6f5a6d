"""Dense transforms as ITK, ANTs, SimpleITK and 3D Slicer store them: millimetres, LPS, a 5-D vector NIfTI.

Value at voxel x: `d(x) = F (A[:3, :3] u(x))`, with the affine A of the fixed grid, our displacement u in its voxels and
`F = diag(-1, -1, 1)` from RAS to LPS. The array is (D, H, W, 1, 3) with NIfTI intent 'vector'.

NIfTI files of intent 'displacement vector', such as those of FreeSurfer, hold RAS; ITK (5.3 and later) turns the signs
of x and y when it reads them, and so does this package.
"""

import os

import nibabel as nib
import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, slabs
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.field_files import TransformFile, check_finite, store_nifti

VECTOR_INTENT, DISPLACEMENT_INTENT = 1007, 1006
LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0])
# ITK grids have axes at right angles; corners may be off by this share of a voxel where an affine is a little skewed.
SKEW_VOXELS = 0.05


def write_itk(path: str | os.PathLike, transform: DenseTransform) -> None:
    """Write a dense transform for ITK.

    Args:
        path: Ends in .nii or .nii.gz.
        transform: The transform, on the fixed grid.

    Raises:
        UserError: The axes of the grid are not at right angles, which ITK cannot express.
        OSError: The file cannot be written.
    """
    check_right_angles(path, transform.grid)
    millimetres = np.empty(transform.displacement.shape, np.float32)
    for rows in slabs(millimetres.shape):
        millimetres[rows] = millimetres_of(DenseTransform(transform.displacement[rows], transform.affine))
    store_nifti(path, millimetres[:, :, :, None], transform.affine, VECTOR_INTENT)


def read_itk(file: TransformFile) -> DenseTransform:
    """Turn the content of an ITK displacement field into a transform.

    Args:
        file: The opened file, (D, H, W, 1, 3).

    Returns:
        The transform, on the grid of the file.

    Raises:
        UserError: Another shape, or values that are not finite.
    """
    if file.array.ndim != 5 or file.array.shape[3:] != (1, 3) or file.affine is None:
        raise UserError(
            f'{file.path} has shape {file.array.shape}',
            expected='(D, H, W, 1, 3) with an affine for a displacement field of ITK',
            fix='name its real --convention',
        )
    numbers = file.array[:, :, :, 0]
    check_finite(file.path, numbers)
    return to_displacement(numbers, file.affine, ras=counts_in_ras(file))


def counts_in_ras(file: TransformFile) -> bool:
    """Tell whether the numbers of a field are RAS, where those of other fields of ITK are LPS."""
    return file.intent == DISPLACEMENT_INTENT


def millimetres_of(transform: DenseTransform) -> np.ndarray:
    """Return the displacement of a dense transform in LPS millimetres, float64 (D, H, W, 3)."""
    return transform.displacement.astype(np.float64) @ transform.affine[:3, :3].T * LPS_FROM_RAS


def to_displacement(millimetres: np.ndarray, affine: np.ndarray, *, ras: bool = False) -> DenseTransform:
    """Return the dense transform of a displacement in millimetres, the inverse of `millimetres_of`.

    Args:
        millimetres: (D, H, W, 3), LPS.
        affine: (4, 4) of its grid, voxel indices to RAS millimetres.
        ras: Whether it is RAS instead, default False.
    """
    signs = np.ones(3) if ras else LPS_FROM_RAS
    to_voxels = np.linalg.inv(affine[:3, :3]).T
    displacement = np.empty(millimetres.shape, np.float32)
    for rows in slabs(displacement.shape):
        displacement[rows] = (millimetres[rows] * signs) @ to_voxels
    return DenseTransform(displacement, affine)


def itk_misfit(grid: ImageGrid) -> float:
    """Return by how many millimetres ITK would misplace the corners of a grid: it holds axes at right angles only.

    Args:
        grid: Any grid.
    """
    header = nib.Nifti1Header()
    # The qform of NIfTI, which nibabel makes of the nearest right angles, is what ITK can hold.
    header.set_qform(grid.affine, code='scanner')
    return grid.misfit_mm(header.get_qform())


def fits_itk(grid: ImageGrid) -> bool:
    """Tell whether the axes of a grid are close enough to right angles for ITK."""
    return itk_misfit(grid) <= SKEW_VOXELS * min(grid.spacing)


def itk_obstacle(name: str, grid: ImageGrid, itk_obstacle: str = '') -> str:
    """Tell why transforms from or to an image cannot be used in ITK.

    Args:
        name: Name of the image.
        grid: Its grid.
        itk_obstacle: Reason in its file why ITK places it elsewhere, empty where it does not.

    Returns:
        The reason in words, empty where there is none.
    """
    if fits_itk(grid):
        return itk_obstacle
    return f'the axes of {name} are sheared by {grid.shear_degrees:.3g} degrees, and ITK holds right angles only'


def check_right_angles(path: str | os.PathLike, grid: ImageGrid) -> None:
    """Check that ITK can hold a field on a grid.

    Args:
        path: The file to write, for the message.
        grid: Grid of the field.

    Raises:
        UserError: Its axes are not at right angles.
    """
    if not fits_itk(grid):
        raise UserError(
            f'{path} cannot be written for ITK: the axes of its grid are not at right angles '
            f'(corners would be off by {itk_misfit(grid):.2g} mm)',
            fix='write it with --format voxel, or resample the fixed image to a grid without shear first',
        )
