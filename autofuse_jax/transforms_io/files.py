"""Writing and reading transforms whatever their convention, and recognising which one a file has."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform, Transform, to_dense
from autofuse_jax.transforms_io.conventions import AFFINE, CONVENTIONS, DISPLACEMENT, FSL, ITK, LEARN2REG, VOXEL
from autofuse_jax.transforms_io.field_files import TransformFile
from autofuse_jax.transforms_io.fsl import read_fsl, write_fsl
from autofuse_jax.transforms_io.itk import read_itk, write_itk
from autofuse_jax.transforms_io.itk_text import TEXT_SUFFIXES, read_itk_text, write_itk_text
from autofuse_jax.transforms_io.learn2reg import read_learn2reg, write_learn2reg
from autofuse_jax.transforms_io.recognition import is_text_transform, recognise
from autofuse_jax.transforms_io.sidecar import (
    ImageRecord,
    TransformInfo,
    check_replaceable,
    sidecar_path,
    write_sidecar,
)
from autofuse_jax.transforms_io.voxel import read_voxel, write_voxel


def write_transform(path: str | os.PathLike, transform: Transform, convention: str, info: TransformInfo) -> None:
    """Write a transform and its sidecar.

    Args:
        path: .nii.gz, .nii or (Learn2Reg, voxel) .npz for a displacement field; .txt or .tfm for an affine transform in
            ITK convention.
        transform: Transform from the fixed to the moving world. For a field it is sampled on the grid of
            `info.fixed`, unless it is a dense transform on that very grid.
        convention: 'itk', 'fsl', 'learn2reg' or 'voxel'.
        info: Images, role, inverse and settings; its kind and convention are set here.

    Raises:
        UserError: A suffix that the convention has not, a transform that is not finite or singular, an affine file for
            a dense transform, no fixed (or, for FSL and Learn2Reg, moving) image in `info`, or a JSON file of something
            else in the sidecar's place.
        OSError: A file cannot be written.
    """
    check_target(path, convention)
    check_replaceable(path)
    is_text = is_text_transform(path)
    info = dataclasses.replace(info, kind=AFFINE if is_text else DISPLACEMENT, convention=convention)
    if is_text:
        if not isinstance(transform, AffineTransform):
            raise UserError(f'{path} holds affine transforms only', fix='write a displacement field as .nii.gz')
        write_itk_text(path, transform)
    else:
        _write_field(path, transform, convention, info)
    write_sidecar(path, info)


def read_transform(
    path: str | os.PathLike,
    convention: str | None = None,
    *,
    fixed: ImageRecord | None = None,
    moving: ImageRecord | None = None,
) -> tuple[AffineTransform | DenseTransform, TransformInfo]:
    """Read a transform.

    Args:
        path: A displacement field, or a text file of ITK with an affine transform.
        convention: 'itk', 'fsl', 'learn2reg' or 'voxel'; None recognises it by the sidecar, then by the header.
        fixed: The fixed image, where the file does not say where its grid lies, or to check it.
        moving: The moving image, where the file does not say it; FSL and Learn2Reg need it.

    Returns:
        The transform from the fixed to the moving world, and what is known about it.

    Raises:
        UserError: The file cannot be read, is no transform, may be one in several conventions, lacks an image that its
            convention needs, or does not belong to the images that are named.
    """
    file_facts = recognise(path, convention)
    info = dataclasses.replace(
        file_facts.info, fixed=file_facts.info.fixed or fixed, moving=file_facts.info.moving or moving
    )
    _check_same(path, 'fixed', file_facts.info.fixed, fixed)
    _check_same(path, 'moving', file_facts.info.moving, moving)
    if file_facts.field is None:
        return read_itk_text(path), info
    file = file_facts.field
    if info.fixed is None and needs_fixed_image(info.convention, file):
        raise _needs_image(path, info.convention, 'fixed')
    if info.moving is None and CONVENTIONS[info.convention].needs_moving:
        raise _needs_image(path, info.convention, 'moving')
    if info.convention == LEARN2REG:
        return read_learn2reg(file, info.fixed.grid, info.moving.grid), info
    if info.convention == VOXEL:
        transform = read_voxel(file, file.grid or info.fixed.grid)
    else:
        transform = read_itk(file) if info.convention == ITK else read_fsl(file, info.moving.grid)
    if info.fixed is not None and not transform.grid.same_as(info.fixed.grid):
        here, there, apart = describe_difference(transform.grid, info.fixed.grid)
        raise UserError(
            f'the transform {path} lies on another grid ({here}) than its fixed image {info.fixed.file} '
            f'({there}){apart}',
            fix='use the fixed image that it was made for, and the sidecar that was written with it',
        )
    return transform, info


def needs_fixed_image(convention: str, file: TransformFile) -> bool:
    """Tell whether a field can be placed in space only with its fixed image.

    Args:
        convention: Its convention.
        file: Its content.

    Returns:
        True for Learn2Reg, whose affines nobody looks at, and for npz files of voxel convention without an affine.
    """
    return convention == LEARN2REG or convention == VOXEL and file.affine is None


def check_target(path: str | os.PathLike, convention: str) -> None:
    """Check before any work that a transform of a convention can be written under a name.

    Args:
        path: The file to write.
        convention: 'itk', 'fsl', 'learn2reg' or 'voxel'.

    Raises:
        UserError: An unknown convention, or a suffix that it has not.
    """
    if convention not in CONVENTIONS:
        raise UserError(f'unknown convention {convention!r}', expected=f'one of {", ".join(CONVENTIONS)}')
    suffixes = CONVENTIONS[convention].suffixes + (TEXT_SUFFIXES if convention == ITK else ())
    if not Path(path).name.lower().endswith(suffixes):
        raise UserError(
            f'{path} is no file name for a transform in {convention} convention',
            expected=f'a name that ends in {", ".join(suffixes)}',
            fix='correct the name',
        )


def _write_field(path: str | os.PathLike, transform: Transform, convention: str, info: TransformInfo) -> None:
    if info.fixed is None:
        raise UserError(f'{path}: the grid of the displacement field is not known', fix='name a --reference image')
    if CONVENTIONS[convention].needs_moving and info.moving is None:
        raise _needs_image(path, convention, 'moving')
    if not isinstance(transform, DenseTransform) or not transform.grid.same_as(info.fixed.grid):
        transform = to_dense([transform], info.fixed.grid)
    bad = int(np.count_nonzero(~np.isfinite(transform.displacement)))
    if bad:
        raise UserError(f'the transform for {path} has {bad} NaN or infinite values', fix='make the transform again')
    if convention == ITK:
        write_itk(path, transform)
    elif convention == VOXEL:
        write_voxel(path, transform)
    elif convention == FSL:
        write_fsl(path, transform, info.moving.grid)
    else:
        write_learn2reg(path, transform, info.moving.grid)


def _check_same(
    path: str | os.PathLike, name: str, sidecar_image: ImageRecord | None, user_image: ImageRecord | None
) -> None:
    if sidecar_image is not None and user_image is not None and not sidecar_image.grid.same_as(user_image.grid):
        here, there, apart = describe_difference(sidecar_image.grid, user_image.grid)
        raise UserError(
            f'{sidecar_path(path)} says that the {name} image is {sidecar_image.file} ({here}), but {user_image.file} '
            f'lies on another grid ({there}){apart}',
            fix=f'leave out --{name}, or name the image that the transform was made with',
        )


def _needs_image(path: str | os.PathLike, convention: str, name: str) -> UserError:
    return UserError(
        f'{path}: a displacement field in {convention} convention cannot be used without the {name} image',
        expected=f'{CONVENTIONS[convention].frame}',
        fix=f'name it with --{name} FILE',
    )
