"""Where a NIfTI or Analyze header puts its image: sform, qform or neither; and whether ITK and FSL put it there, too.

Of a header without sform and qform only the voxel sizes are known. ITK takes its axes for LPS and its first voxel for
the origin; so does this package, so that what is written for ITK fits what ITK reads. Of two forms ITK prefers the
sform only where that comes from the scanner and has right angles.

FSL counts along the axes in the header's voxel sizes, whatever their unit and whatever the sform says of them. The axes
of a header without sform and qform it takes for left-handed ones, where ITK takes them for right-handed ones.
"""

import dataclasses
from typing import Any

import nibabel as nib
import numpy as np

from autofuse_jax.transforms.grids import ImageGrid, spacing_of

# Corners of the image that sform and qform place further apart than this share of a voxel are a disagreement.
FORMS_TOLERANCE_VOXELS = 0.1
# Corners that ITK or FSL places further away than this share of a voxel do not fit.
ITK_TOLERANCE_VOXELS = FSL_TOLERANCE_VOXELS = 0.05
SCANNER_CODE = 1
# Largest cosine between axes that ITK takes for right angles.
ITK_COSINE = 1e-3
LPS_AXES = np.array([-1.0, -1.0, 1.0])


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """Place of an image in the world.

    Attributes:
        affine: float64 (4, 4), from voxel indices to RAS millimetres.
        remarks: Sentences that a user should know.
        itk_obstacle: Reason why ITK puts the image elsewhere, empty where it does not.
        fsl_obstacle: Reason why FSL counts along its axes in another way, empty where it does not.
    """

    affine: np.ndarray
    remarks: tuple[str, ...] = ()
    itk_obstacle: str = ''
    fsl_obstacle: str = ''


def place_of(image: Any, name: str, unit_mm: float) -> Place:
    """Read the place of an image.

    Args:
        image: A NIfTI, Analyze or MGH image as nibabel sees it.
        name: Name of its file.
        unit_mm: Millimetres in the unit of length of its header.
    """
    header = image.header
    affine = np.array(image.affine, np.float64)
    if isinstance(header, nib.Nifti1Header):
        shape = (*image.shape, 1, 1)[:3]
        place = _place_of_forms(header, shape, affine, name, np.diag([*[unit_mm] * 3, 1.0]))
        return dataclasses.replace(place, fsl_obstacle=_fsl_obstacle(header, shape, place.affine, name, unit_mm))
    if not isinstance(image, nib.AnalyzeImage):
        return Place(affine)
    words = f'{name} is an Analyze file, which does not say where it lies: axes {_axes(affine)} are taken'
    return Place(affine, (words,), f'of the Analyze file {name} ITK takes the axes for LPS')


def right_angles(affine: np.ndarray) -> bool:
    """Tell whether ITK takes the axes of an affine (4, 4) for ones at right angles."""
    spacing = np.array(spacing_of(affine))
    if not spacing.all():
        return False
    axes = affine[:3, :3] / spacing
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < ITK_COSINE)


def _place_of_forms(header: Any, shape: tuple[int, ...], affine: np.ndarray, name: str, unit: np.ndarray) -> Place:
    if header['dim'][0] < 3 and not affine[:3, 2].any():
        # The only slice of a 2-D image has no thickness in some headers.
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0) * min(spacing_of(affine)[:2])
    sform, sform_code = header.get_sform(coded=True)
    try:
        qform, qform_code = header.get_qform(coded=True)
    except (ValueError, nib.spatialimages.HeaderDataError):
        return Place(unit @ affine, (f'{name} has a damaged qform, which is not used',) if sform_code else ())
    if not sform_code and not qform_code:
        affine = unit @ _without_forms(header)
        return Place(
            affine,
            (
                f'{name} has neither sform nor qform: only its voxel sizes are known, and its position is made up '
                f'as in ITK, axes {_axes(affine)} from 0',
            ),
        )
    if not sform_code or not qform_code:
        return Place(unit @ affine)
    grid = ImageGrid(shape, unit @ affine)
    apart = grid.misfit_mm(unit @ qform)
    remarks: tuple[str, ...] = ()
    obstacle = ''
    if apart > FORMS_TOLERANCE_VOXELS * min(grid.spacing):
        remarks = (
            f'sform and qform of {name} disagree by up to {apart:.3g} mm; the sform is used, but other tools may take '
            'the qform',
        )
    if apart > ITK_TOLERANCE_VOXELS * min(grid.spacing) and not (sform_code == SCANNER_CODE and right_angles(sform)):
        obstacle = f'ITK takes the qform of {name}, which is up to {apart:.3g} mm away from the sform'
    return Place(grid.affine, remarks, obstacle)


def _fsl_obstacle(header: Any, shape: tuple[int, ...], affine: np.ndarray, name: str, unit_mm: float) -> str:
    """Tell why FSL counts along the axes of an image in another way than by its `affine`, '' where it does not."""
    if not header['sform_code'] and not header['qform_code']:
        return f'{name} has neither sform nor qform, and FSL takes the axes of such images for left-handed ones'
    if unit_mm != 1:
        return f'FSL takes the lengths of {name} for millimetres, which they are not'
    sizes, spacing = np.abs(np.asarray(header['pixdim'][1:4], np.float64)), np.array(spacing_of(affine))
    apart = np.abs(sizes - spacing) * (np.array(shape) - 1)
    if (apart > FSL_TOLERANCE_VOXELS * spacing).any():
        in_header, in_sform = ('x'.join(f'{length:.4g}' for length in lengths) for lengths in (sizes, spacing))
        return f'FSL takes the voxel size in the header of {name}, {in_header} mm, and its sform says {in_sform} mm'
    return ''


def _without_forms(header: Any) -> np.ndarray:
    """Affine that ITK gives to a header without position."""
    sizes = np.abs(np.asarray(header['pixdim'][1:4], np.float64))
    return np.diag([*(LPS_AXES * sizes), 1.0])


def _axes(affine: np.ndarray) -> str:
    return ''.join(nib.aff2axcodes(affine))
