"""The files of transforms that a registration leaves: both directions in each convention, as far as ITK has a use."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.files import json_types
from autofuse_jax.registration.composites import write_composites
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.inversion import inverse_affine
from autofuse_jax.transforms_io.conventions import ITK, VOXEL
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.itk import itk_obstacle
from autofuse_jax.transforms_io.sidecar import FORWARD, INVERSE, ImageRecord, TransformInfo

SUFFIX = '.nii.gz'
CONVENTIONS_WRITTEN = (ITK, VOXEL)
AFFINE, INVERSE_AFFINE = 'affine_itk.txt', 'inverse_affine_itk.txt'
ITK_FILES = (*(f'{role}_{ITK}{SUFFIX}' for role in (FORWARD, INVERSE)), AFFINE, INVERSE_AFFINE)


def itk_remark(images: Iterable[tuple[str, ImageGrid, str]]) -> str:
    """Say which files for ITK are not written, and why.

    Args:
        images: Name, grid and reason of its file (see `Notes`) of each image.

    Returns:
        A sentence; empty where ITK can use the transforms.
    """
    reasons = [reason for image in images if (reason := itk_obstacle(*image))]
    return f'{", ".join(ITK_FILES)} are not written: {"; ".join(reasons)}' if reasons else ''


def write_transforms(folder: Path, result: RegistrationResult, about: Mapping[str, Any], composite: bool) -> None:
    """Write both directions in ITK and voxel convention, and the linear part with its inverse.

    Files for ITK are left out where it cannot use them, the linear part alone where it means nothing.

    Args:
        folder: Folder of the results.
        result: The registration.
        about: Content of the report, of which the sidecars get settings and versions.
        composite: Whether both directions are written as composite transforms of ITK, too.

    Raises:
        OSError: A file cannot be written.
    """
    volumes = (result.fixed, result.moving)
    fixed, moving = (ImageRecord.of(volume) for volume in volumes)
    common = {'settings': json_types(about.get('settings', {})), 'versions': dict(about.get('versions', {}))}
    fits = not any(itk_obstacle(volume.name, volume.grid, volume.notes.itk_obstacle) for volume in volumes)
    for convention in CONVENTIONS_WRITTEN:
        if convention == ITK and not fits:
            continue
        names = {role: f'{role}_{convention}{SUFFIX}' for role in (FORWARD, INVERSE)}
        forward = TransformInfo(role=FORWARD, fixed=fixed, moving=moving, inverse=names[INVERSE], **common)
        backward = TransformInfo(role=INVERSE, fixed=moving, moving=fixed, inverse=names[FORWARD], **common)
        write_transform(folder / names[FORWARD], result.transform, convention, forward)
        write_transform(folder / names[INVERSE], result.inverse, convention, backward)
    if composite and fits:
        write_composites(folder, result, common)
    if deforms_first(result) or not fits:
        return
    linear = TransformInfo(role=FORWARD, fixed=fixed, moving=moving, inverse=INVERSE_AFFINE, **common)
    write_transform(folder / AFFINE, result.alignment, ITK, linear)
    back = TransformInfo(role=INVERSE, fixed=moving, moving=fixed, inverse=AFFINE, **common)
    write_transform(folder / INVERSE_AFFINE, inverse_affine(result.alignment), ITK, back)


def deforms_first(result: RegistrationResult) -> bool:
    """Tell whether the linear part follows an initial deformation, so that alone it means nothing."""
    return result.initial is not None and result.initial.matrix is None
