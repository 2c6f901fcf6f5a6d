"""What is in this file? One sentence about a transform file, or about a file that is none."""

import os
from pathlib import Path

import numpy as np

from autofuse_jax.data.formats import KNOWN_SUFFIXES
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.affine_fit import rotation_degrees
from autofuse_jax.transforms.grid_words import describe_grid
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform
from autofuse_jax.transforms_io.conventions import CONVENTIONS
from autofuse_jax.transforms_io.field_files import TransformFile, finite_field
from autofuse_jax.transforms_io.files import needs_fixed_image, read_transform
from autofuse_jax.transforms_io.itk_text import TEXT_SUFFIXES
from autofuse_jax.transforms_io.recognition import Recognised, recognise
from autofuse_jax.transforms_io.sidecar import INVERSE, ImageRecord, TransformInfo
from autofuse_jax.transforms_io.voxel import components_last

FOREIGN_SUFFIXES = {
    '.h5': 'a composite transform of ITK or ANTs in HDF5',
    '.mat': 'an affine transform of ANTs (binary) or FSL (text)',
    '.lta': 'an affine transform of FreeSurfer',
    '.x5': 'a transform in X5 format of nitransforms',
    '.nrrd': 'an image or a displacement field of 3D Slicer',
}


def explain(
    path: str | os.PathLike,
    convention: str | None = None,
    *,
    fixed: ImageRecord | None = None,
    moving: ImageRecord | None = None,
) -> str:
    """Say in one sentence what a file contains.

    Args:
        path: Any file.
        convention: Convention that the user says it is in; None finds out.
        fixed: The fixed image, where the user names it.
        moving: The moving image, where the user names it.

    Returns:
        The sentence, with the file's name in front.

    Raises:
        UserError: The file cannot be read, is no transform, or fits several conventions; the message says what it is.
    """
    suffix = Path(path).suffix.lower()
    if Path(path).is_file() and not Path(path).name.lower().endswith((*KNOWN_SUFFIXES, *TEXT_SUFFIXES)):
        kind = FOREIGN_SUFFIXES.get(suffix, f'a file of unknown kind ({suffix or "no suffix"})')
        raise UserError(
            f'{path} looks like {kind}, which this package does not read',
            expected=f'one of {", ".join((*KNOWN_SUFFIXES, *TEXT_SUFFIXES))}',
            fix='convert it to a displacement field in ITK convention with the program that wrote it',
        )
    file_facts = recognise(path, convention)
    short = CONVENTIONS[file_facts.info.convention].short
    if file_facts.field is not None and _lacks_images(file_facts, fixed, moving):
        text = f'a dense displacement field in {file_facts.info.convention} convention ({short}) without sidecar'
        return f'{Path(path).name}: {text}{_without_images(file_facts.field)}.'
    transform, info = read_transform(path, convention, fixed=fixed, moving=moving)
    title = CONVENTIONS[info.convention].title
    if isinstance(transform, AffineTransform):
        text = f'an affine transform in {title} convention ({short}), {_pulls(info)}; {_affine_words(transform, info)}'
    else:
        grid = describe_grid(transform.grid)
        name = f'the fixed grid {info.fixed.file}' if info.fixed else 'a grid'
        text = f'a dense displacement field in {title} convention ({short}), on {name} ({grid}), {_pulls(info)}; '
        text += f'largest displacement {_largest_mm(transform):.1f} mm'
    return f'{Path(path).name}: {text}; {_inverse_words(path, info, transform)}.'


def _pulls(info: TransformInfo) -> str:
    moving = info.moving.file if info.moving else 'the moving image'
    onto = info.fixed.file if info.fixed else 'the fixed image'
    role = '; it is the inverse of a registration' if info.role == INVERSE else ''
    onto = 'it' if info.fixed and info.kind != 'affine' else onto
    return f'that pulls {moving} onto {onto} (points go from fixed to moving){role}'


def _inverse_words(path: str | os.PathLike, info: TransformInfo, transform: AffineTransform | DenseTransform) -> str:
    if info.inverse is not None:
        absent = '' if (Path(path).parent / info.inverse).is_file() else ', which is missing'
        return f'its inverse is {info.inverse}{absent}'
    if isinstance(transform, AffineTransform):
        return 'its inverse is exact'
    return 'no inverse is saved with it, it can be solved for'


def _affine_words(transform: AffineTransform, info: TransformInfo) -> str:
    linear = transform.matrix[:3, :3]
    angle, factor = rotation_degrees(linear), np.linalg.det(linear)
    middle = info.fixed.grid.centre_mm if info.fixed else np.zeros(3)
    place = 'the middle of the fixed image' if info.fixed else 'the origin'
    shift = float(np.linalg.norm(transform.map_points(middle) - middle))
    text = f'it turns by {angle:.1f} degrees, scales volumes by {abs(factor):.3f} and moves {place} by {shift:.1f} mm'
    return f'{text}, mirrored' if factor < 0 else text


def _largest_mm(transform: DenseTransform) -> float:
    shift = transform.displacement.astype(np.float64) @ transform.affine[:3, :3].T
    return float(np.linalg.norm(shift, axis=-1).max())


def _lacks_images(file_facts: Recognised, fixed: ImageRecord | None, moving: ImageRecord | None) -> bool:
    info = file_facts.info
    lacks_fixed = needs_fixed_image(info.convention, file_facts.field) and (info.fixed or fixed) is None
    return lacks_fixed or CONVENTIONS[info.convention].needs_moving and (info.moving or moving) is None


def _without_images(field: TransformFile) -> str:
    """Return what can be said of a field whose place in space is not known."""
    numbers = finite_field(field.path, components_last(field))
    largest = float(np.linalg.norm(numbers, axis=-1).max())
    shape = 'x'.join(str(size) for size in numbers.shape[:3])
    return (
        f', on a fixed grid of {shape} voxels, that pulls a moving image onto it (points go from fixed to moving); '
        f'largest value {largest:.1f}; to use it, name its images with --fixed and --moving'
    )
