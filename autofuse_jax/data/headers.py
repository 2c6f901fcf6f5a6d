"""What the header of an image says about its place in space, and what is suspicious about it."""

import dataclasses
import os
from pathlib import Path

import nibabel as nib
import numpy as np

from autofuse_jax.data.formats import IMAGE_KEY, is_npz, load_array, open_header
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid

# Corners of the image that sform and qform place further apart than this share of a voxel are a disagreement.
FORMS_TOLERANCE_VOXELS = 0.1
# Axes that deviate from the scanner's by more than this are called oblique.
OBLIQUE_DEGREES = 0.5
# Slices beyond this many times the pixel size are pointed out.
THICK_SLICES = 3.0


@dataclasses.dataclass(frozen=True)
class HeaderFacts:
    """What a header says.

    Attributes:
        file: Name of the file.
        shape: Sizes of the stored axes.
        spacing: Voxel size along the first three axes, millimetres.
        orientation: Directions of the axes, such as 'RAS'.
        oblique_degrees: Angle between the most tilted axis and the nearest scanner axis.
        remarks: Sentences that a user should know; empty where nothing is suspicious.
    """

    file: str
    shape: tuple[int, ...]
    spacing: tuple[float, float, float]
    orientation: str
    oblique_degrees: float
    remarks: tuple[str, ...]

    def sentence(self) -> str:
        """Describe the image in one line."""
        size = ' x '.join(str(length) for length in self.shape)
        voxel = ' x '.join(f'{length:.4g}' for length in self.spacing)
        tilt = f', oblique by {self.oblique_degrees:.1f} degrees' if self.oblique_degrees > OBLIQUE_DEGREES else ''
        return f'{self.file}: {size} voxels of {voxel} mm, axes {self.orientation}{tilt}'


def read_header(path: str | os.PathLike) -> HeaderFacts:
    """Read the geometry of an image and check it, without reading the values.

    Args:
        path: A .nii, .nii.gz, .mgz or .npz file; an npz has no header, its array and affine are read instead.

    Returns:
        The facts.

    Raises:
        UserError: Missing or damaged file, colours in place of grey values, or a singular affine.
    """
    name = Path(path).name
    if is_npz(path):
        array, affine = load_array(path, IMAGE_KEY)
        return _facts(name, array.shape, affine, ())
    image = open_header(path)
    if image.get_data_dtype().kind not in 'biuf':
        raise UserError(
            f'{path} holds colours or complex numbers (type {image.get_data_dtype()})',
            expected='one grey value per voxel',
            fix='convert it to grey values first',
        )
    remarks = _form_remarks(image) if isinstance(image, nib.Nifti1Image) else ()
    return _facts(name, image.shape, np.asarray(image.affine, np.float64), remarks)


def _facts(name: str, shape: tuple[int, ...], affine: np.ndarray, remarks: tuple[str, ...]) -> HeaderFacts:
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise UserError(
            f'the affine of {name} is singular: {affine[:3, :3].tolist()}',
            expected='a voxel size above 0 along each axis',
            fix='repair the header of the file',
        )
    grid = ImageGrid(shape[:3], affine)
    thick, thin = max(grid.spacing), min(grid.spacing)
    if thick > THICK_SLICES * thin:
        remarks += (f'{name} has slices of {thick:.3g} mm and pixels of {thin:.3g} mm',)
    return HeaderFacts(name, tuple(shape), grid.spacing, grid.orientation, grid.tilt_degrees, remarks)


def _form_remarks(image: nib.Nifti1Image) -> tuple[str, ...]:
    """Compare sform and qform, the two places where NIfTI keeps the position of an image."""
    name = Path(image.get_filename() or '').name
    sform, sform_code = image.get_sform(coded=True)
    try:
        qform, qform_code = image.get_qform(coded=True)
    except (ValueError, nib.spatialimages.HeaderDataError):
        return (f'{name} has a damaged qform, which is not used',) if sform_code else ()
    if not sform_code and not qform_code:
        return (f'{name} has neither sform nor qform: only its voxel sizes are known, and its position is made up',)
    if not sform_code or not qform_code:
        return ()
    grid = ImageGrid(image.shape[:3], sform)
    apart = grid.misfit_mm(qform)
    if apart <= FORMS_TOLERANCE_VOXELS * min(grid.spacing):
        return ()
    return (
        f'sform and qform of {name} disagree by up to {apart:.1f} mm; the sform is used, but other tools may take the '
        'qform',
    )
