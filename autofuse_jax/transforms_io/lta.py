"""FreeSurfer's linear transform arrays (.lta): a matrix with the geometry of both images.

It pushes, from the source (moving) to the destination (fixed). Of the types, 0 counts in voxels and 1 in RAS
millimetres. The geometry has the voxel size, the direction of each axis and the RAS position `cras` of voxel n / 2; our
transform is the inverse of the matrix between the two worlds.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import LONGEST_MM, ImageGrid, affine_fault
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms_io.field_files import check_is_file
from autofuse_jax.transforms_io.itk_kinds import check_matrix
from autofuse_jax.transforms_io.sidecar import ImageRecord

LTA_SUFFIX = '.lta'
VOXEL_TO_VOXEL, RAS_TO_RAS = 0, 1
SOURCE, DESTINATION = 'src volume info', 'dst volume info'
CONVERT = 'convert it with lta_convert --inlta FILE --outlta RESULT, which writes RAS to RAS'
CONVERT_WITH_IMAGES = 'name them to lta_convert: --inlta FILE --outlta RESULT --src MOVING --trg FIXED'


class LtaFile(NamedTuple):
    """Content of an .lta file.

    Attributes:
        transform: Transform from the fixed to the moving world.
        fixed: Destination image; None where the file does not know it.
        moving: Source image; None likewise.
    """

    transform: AffineTransform
    fixed: ImageRecord | None
    moving: ImageRecord | None


def read_lta(path: str | os.PathLike) -> LtaFile:
    """Read a linear transform of FreeSurfer.

    Args:
        path: The file.

    Returns:
        The transform, and the images that the file names.

    Raises:
        UserError: Missing file, no .lta file, several transforms, a type that is not read, or a singular matrix.
    """
    check_is_file(path)
    lines = [line.split('#')[0].strip() for line in Path(path).read_text('utf-8', errors='replace').splitlines()]
    lines = [line for line in lines if line]
    try:
        facts = _facts(lines)
        kind, count = int(facts['type']), int(facts['nxforms'])
        # '1 4 4' stands above the matrix.
        first = lines.index('1 4 4') + 1
        matrix = np.array([[float(word) for word in line.split()] for line in lines[first : first + 4]])
        moving, fixed = (_image(lines, title) for title in (SOURCE, DESTINATION))
        good = matrix.shape == (4, 4)
    except (KeyError, ValueError) as error:
        raise _wrong(path, repr(error)) from error
    if not good:
        raise _wrong(path, f'a matrix of shape {matrix.shape}')
    if count != 1:
        raise UserError(f'{path} holds {count} transforms', expected='one', fix='split the file')
    if kind not in (VOXEL_TO_VOXEL, RAS_TO_RAS):
        raise UserError(f'{path} is of type {kind}', expected='0 (voxels to voxels) or 1 (RAS to RAS)', fix=CONVERT)
    check_matrix(path, matrix)
    if kind == VOXEL_TO_VOXEL:
        if fixed is None or moving is None:
            raise UserError(f'{path} counts in voxels and does not know its images', fix=CONVERT_WITH_IMAGES)
        matrix = fixed.grid.affine @ matrix @ np.linalg.inv(moving.grid.affine)
    return LtaFile(AffineTransform(np.linalg.inv(matrix)), fixed, moving)


def _facts(lines: Sequence[str]) -> dict[str, str]:
    """Return what lines 'name = value' say; of equal names the first counts."""
    facts: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition('=')
        if equals:
            facts.setdefault(name.strip(), value.strip())
    return facts


def _image(lines: Sequence[str], title: str) -> ImageRecord | None:
    """Return an image of the file, None where it is not there or not valid."""
    if title not in lines:
        return None
    facts = _facts(lines[lines.index(title) + 1 :])
    if int(facts['valid']) != 1:
        return None
    shape = tuple(int(word) for word in facts['volume'].split())
    spacing, *axes, middle = (
        np.array([float(word) for word in facts[name].split()])
        for name in ('voxelsize', 'xras', 'yras', 'zras', 'cras')
    )
    numbers = np.concatenate([spacing, *axes, middle, shape])
    if not (np.abs(numbers) <= LONGEST_MM).all():
        raise ValueError(f'{title} holds no lengths')
    affine = np.eye(4)
    affine[:3, :3] = np.stack(axes, axis=1) * spacing
    affine[:3, 3] = middle - affine[:3, :3] @ (np.array(shape) / 2)
    fault = affine_fault(affine)
    if len(shape) != 3 or min(shape) < 1 or fault:
        raise ValueError(f'{title} is no grid{fault and f": it {fault}"}')
    return ImageRecord(Path(facts.get('filename', title)).name, ImageGrid(shape, affine))


def _wrong(path: str | os.PathLike, reason: str) -> UserError:
    return UserError(
        f'{path} is no linear transform of FreeSurfer ({reason})',
        expected='an .lta file with type, nxforms, a 4 x 4 matrix and the geometry of both images',
        fix='fetch it again',
    )
