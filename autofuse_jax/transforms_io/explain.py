"""What is in this file? One sentence about a transform file, or about a file that is none."""

import os
from pathlib import Path

import numpy as np

from autofuse_jax.transforms.affine_fit import rotation_degrees
from autofuse_jax.transforms.grid_words import describe_grid
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.conventions import AFFINE, CONVENTIONS, DISPLACEMENT, ITK
from autofuse_jax.transforms_io.field_files import finite_field
from autofuse_jax.transforms_io.files import missing_images, read_recognised
from autofuse_jax.transforms_io.itk import counts_in_ras
from autofuse_jax.transforms_io.recognition import Recognised, recognise
from autofuse_jax.transforms_io.sidecar import INVERSE, ImageRecord, TransformInfo
from autofuse_jax.transforms_io.voxel import components_last


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
    file_facts = recognise(path, convention)
    if _lacks_images(file_facts, fixed, moving):
        return f'{Path(path).name}: {_without_images(file_facts)}.'
    transform, info = read_recognised(file_facts, fixed=fixed, moving=moving)
    of = CONVENTIONS[info.convention]
    if isinstance(transform, AffineTransform):
        text = f'an affine transform in {of.title} convention ({of.affine_short}), {_pulls(info)}; '
        text += _affine_words(transform, info)
    elif isinstance(transform, Chain):
        text = f'a composite of {len(transform.transforms)} transforms in {of.title} convention ({of.short}), '
        text += f'{_pulls(info)}; points pass through {_parts_words(transform, info)}'
    else:
        grid = describe_grid(transform.grid)
        name = f'the fixed grid {info.fixed.file}' if info.fixed else 'a grid'
        short = of.short
        if info.convention == ITK and file_facts.field is not None and counts_in_ras(file_facts.field):
            short = 'mm, RAS, as its intent says'
        text = f'a dense displacement field in {of.title} convention ({short}), on {name} ({grid}), {_pulls(info)}; '
        text += _field_words(transform)
    return f'{Path(path).name}: {text}; {_inverse_words(path, info, transform)}.'


def _pulls(info: TransformInfo) -> str:
    moving = info.moving.file if info.moving else 'the moving image'
    onto = info.fixed.file if info.fixed else 'the fixed image'
    role = '; it is the inverse of a registration' if info.role == INVERSE else ''
    onto = 'it' if info.fixed and info.kind == DISPLACEMENT else onto
    stored = ''
    if info.kind == AFFINE and CONVENTIONS[info.convention].affine_pushes:
        stored = ', the file holds the way back'
    return f'that pulls {moving} onto {onto} (points go from fixed to moving{stored}){role}'


def _inverse_words(
    path: str | os.PathLike, info: TransformInfo, transform: AffineTransform | DenseTransform | Chain
) -> str:
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
    text = f'it turns by {angle:.1f} degrees, scales volumes by {abs(factor):.3f} and moves {place} by {_length(shift)}'
    return f'{text}, mirrored' if factor < 0 else text


def _field_words(transform: DenseTransform) -> str:
    shift = transform.displacement.astype(np.float64) @ transform.affine[:3, :3].T
    return f'largest displacement {_length(float(np.linalg.norm(shift, axis=-1).max()))}'


def _length(millimetres: float) -> str:
    """Return a length in words: a digit behind the point, and more under a microscope, where that would be 0."""
    return f'{millimetres:.2g} mm' if 0 < millimetres < 0.05 else f'{millimetres:.1f} mm'


def _parts_words(chain: Chain, info: TransformInfo) -> str:
    """Return the parts in the order in which a point passes through them."""
    texts = []
    for part in reversed(chain.transforms):
        if isinstance(part, AffineTransform):
            texts.append(f'an affine transform ({_affine_words(part, info)})')
        elif isinstance(part, DenseTransform):
            texts.append(f'a displacement field ({describe_grid(part.grid)}, {_field_words(part)})')
    return ', then '.join(texts)


def _lacks_images(file_facts: Recognised, fixed: ImageRecord | None, moving: ImageRecord | None) -> bool:
    named = {'fixed': fixed, 'moving': moving}
    return any(named[role] is None for role in missing_images(file_facts))


def _without_images(file_facts: Recognised) -> str:
    """Return what can be said of a transform whose place in space is not known."""
    info, field, of = file_facts.info, file_facts.field, CONVENTIONS[file_facts.info.convention]
    if field is None:
        return (
            f'an affine transform in {of.title} convention ({of.affine_short}), that pulls a moving image (-in) onto a '
            'fixed one (-ref); to use it, name its images with --fixed and --moving'
        )
    numbers = finite_field(field.path, components_last(field))
    largest = float(np.linalg.norm(numbers, axis=-1).max())
    shape = 'x'.join(str(size) for size in numbers.shape[:3])
    return (
        f'a dense displacement field in {info.convention} convention ({of.short}) without sidecar, '
        f'on a fixed grid of {shape} voxels, that pulls a moving image onto it (points go from fixed to moving); '
        f'largest value {largest:.1f}; to use it, name its images with --fixed and --moving'
    )
