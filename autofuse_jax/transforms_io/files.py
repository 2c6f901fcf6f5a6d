"""Writing and reading transforms whatever their convention, and recognising which one a file has."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from autofuse_jax.choices import FORMATS
from autofuse_jax.errors import UserError, check_option
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, Transform, to_dense
from autofuse_jax.transforms_io.conventions import (
    AFFINE,
    COMPOSITE,
    CONVENTIONS,
    DISPLACEMENT,
    FSL,
    ITK,
    LEARN2REG,
    LTA,
    VOXEL,
)
from autofuse_jax.transforms_io.fsl import read_fsl, write_fsl
from autofuse_jax.transforms_io.fsl_affine import read_flirt
from autofuse_jax.transforms_io.itk import read_itk, write_itk
from autofuse_jax.transforms_io.itk_hdf5 import library, read_itk_hdf5, write_itk_hdf5
from autofuse_jax.transforms_io.itk_matlab import read_itk_matlab
from autofuse_jax.transforms_io.itk_text import read_itk_text, write_itk_text
from autofuse_jax.transforms_io.learn2reg import read_learn2reg, write_learn2reg
from autofuse_jax.transforms_io.lta import read_lta
from autofuse_jax.transforms_io.recognition import MATRIX_SUFFIX, Recognised, is_affine, is_composite, recognise
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
        path: .nii.gz, .nii or (Learn2Reg, voxel) .npz for a displacement field; in ITK convention also .txt or .tfm for
            an affine transform and .h5 for any, whose parts stay what they are.
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
    whole = is_affine(path) or is_composite(path)
    info = dataclasses.replace(info, kind=_kind_of(transform) if whole else DISPLACEMENT, convention=convention)
    if is_affine(path):
        if not isinstance(transform, AffineTransform):
            raise UserError(f'{path} holds affine transforms only', fix='write a displacement field as .nii.gz')
        write_itk_text(path, transform)
    elif is_composite(path):
        write_itk_hdf5(path, transform)  # type: ignore[arg-type]
    else:
        _write_field(path, transform, convention, info)
    write_sidecar(path, info)


def read_transform(
    path: str | os.PathLike,
    convention: str | None = None,
    *,
    fixed: ImageRecord | None = None,
    moving: ImageRecord | None = None,
) -> tuple[AffineTransform | DenseTransform | Chain, TransformInfo]:
    """Read a transform.

    Args:
        path: A displacement field; .txt, .tfm, .mat or .h5 of ITK and ANTs; .mat of FSL's flirt; .lta of FreeSurfer.
        convention: 'itk', 'fsl', 'learn2reg', 'voxel' or 'lta'; None recognises it by the sidecar, then by the header.
        fixed: The fixed image, where the file does not say where its grid lies, or to check it.
        moving: The moving image, where the file does not say it; FSL and Learn2Reg need it.

    Returns:
        The transform from the fixed to the moving world, a chain where the file holds several that are not all affine;
        and what is known about it.

    Raises:
        UserError: The file cannot be read, is no transform, may be one in several conventions, lacks an image that its
            convention needs, or does not belong to the images that are named, or to images that FSL reads differently.
    """
    return read_recognised(recognise(path, convention), fixed=fixed, moving=moving)


def read_recognised(
    file_facts: Recognised, *, fixed: ImageRecord | None = None, moving: ImageRecord | None = None
) -> tuple[AffineTransform | DenseTransform | Chain, TransformInfo]:
    """Read a transform whose file has been recognised.

    Args:
        file_facts: Result of `recognise`.
        fixed: The fixed image, see `read_transform`.
        moving: The moving image, likewise.

    Returns:
        As `read_transform`.

    Raises:
        UserError: As `read_transform`.
    """
    path = file_facts.path
    info = dataclasses.replace(
        file_facts.info, fixed=file_facts.info.fixed or fixed, moving=file_facts.info.moving or moving
    )
    # Files of FreeSurfer name their images themselves.
    said_by = path if info.convention == LTA else sidecar_path(path)
    _check_same(said_by, 'fixed', file_facts.info.fixed, fixed)
    _check_same(said_by, 'moving', file_facts.info.moving, moving)
    named = {'fixed': info.fixed, 'moving': info.moving}
    for role in missing_images(file_facts):
        if named[role] is None:
            raise _needs_image(path, info.convention, role)
    if info.convention == FSL:
        _check_fsl_frames(path, info, file_facts.field.fsl_obstacle if file_facts.field else '')
    if file_facts.field is None:
        transform = _read_whole(path, info)
        return transform, dataclasses.replace(info, kind=_kind_of(transform))
    file = file_facts.field
    if info.convention == LEARN2REG:
        return read_learn2reg(file, info.fixed.grid, info.moving.grid), info
    if info.convention == VOXEL:
        field = read_voxel(file, file.grid or info.fixed.grid)
    else:
        field = read_itk(file) if info.convention == ITK else read_fsl(file, info.moving.grid)
    if info.fixed is not None and not field.grid.same_as(info.fixed.grid):
        here, there, apart = describe_difference(field.grid, info.fixed.grid)
        raise UserError(
            f'the transform {path} lies on another grid ({here}) than its fixed image {info.fixed.file} '
            f'({there}){apart}',
            fix='use the fixed image that it was made for, and the sidecar that was written with it',
        )
    return field, info


def missing_images(file_facts: Recognised) -> tuple[str, ...]:
    """Return which images somebody must name for a transform to be read.

    Args:
        file_facts: Result of `recognise`.

    Returns:
        Of 'fixed' and 'moving', those that its convention needs and that neither sidecar nor file names. The moving one
        is needed by what counts in its voxels; the fixed one by Learn2Reg, whose affines nobody looks at, by npz files
        of voxel convention without an affine, and by FLIRT.
    """
    info, field = file_facts.info, file_facts.field
    if field is None:
        needs_fixed = needs_moving = info.convention == FSL
    else:
        needs_fixed = info.convention == LEARN2REG or info.convention == VOXEL and field.affine is None
        needs_moving = CONVENTIONS[info.convention].needs_moving
    roles = (('fixed', needs_fixed, info.fixed), ('moving', needs_moving, info.moving))
    return tuple(role for role, needed, image in roles if needed and image is None)


def check_target(path: str | os.PathLike, convention: str) -> None:
    """Check before any work that a transform of a convention can be written under a name.

    Args:
        path: The file to write.
        convention: 'itk', 'fsl', 'learn2reg' or 'voxel'.

    Raises:
        UserError: An unknown convention, a suffix that it has not, or a package that is missing.
    """
    check_option('the convention', convention, FORMATS)
    suffixes = CONVENTIONS[convention].suffixes + CONVENTIONS[convention].affine_suffixes
    if not Path(path).name.lower().endswith(suffixes):
        raise UserError(
            f'{path} is no file name for a transform in {convention} convention',
            expected=f'a name that ends in {", ".join(suffixes)}',
            fix='correct the name',
        )
    if is_composite(path):
        library(path)


def _read_whole(path: Path, info: TransformInfo) -> AffineTransform | DenseTransform | Chain:
    """Read a file whose suffix does not name a field."""
    if info.convention == FSL:
        return read_flirt(path, info.fixed.grid, info.moving.grid)
    if info.convention == LTA:
        return read_lta(path).transform
    if is_composite(path):
        return read_itk_hdf5(path)
    return read_itk_matlab(path) if path.suffix.lower() == MATRIX_SUFFIX else read_itk_text(path)


def _kind_of(transform: Transform) -> str:
    kinds = ((AffineTransform, AFFINE), (DenseTransform, DISPLACEMENT))
    return next((kind for of, kind in kinds if isinstance(transform, of)), COMPOSITE)


def _write_field(path: str | os.PathLike, transform: Transform, convention: str, info: TransformInfo) -> None:
    if info.fixed is None:
        raise UserError(f'{path}: the grid of the displacement field is not known', fix='name a --reference image')
    if CONVENTIONS[convention].needs_moving and info.moving is None:
        raise _needs_image(path, convention, 'moving')
    if convention == FSL:
        _check_fsl_frames(path, info)
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


def _check_same(said_by: Path, name: str, said_image: ImageRecord | None, user_image: ImageRecord | None) -> None:
    if said_image is not None and user_image is not None and not said_image.grid.same_as(user_image.grid):
        here, there, apart = describe_difference(said_image.grid, user_image.grid)
        raise UserError(
            f'{said_by} says that the {name} image is {said_image.file} ({here}), but {user_image.file} '
            f'lies on another grid ({there}){apart}',
            fix=f'leave out --{name}, or name the image that the transform was made with',
        )


def _check_fsl_frames(path: str | os.PathLike, info: TransformInfo, obstacle: str = '') -> None:
    """Refuse a transform of FSL whose images, or whose file with that `obstacle`, have other axes in FSL than here."""
    for reason in (obstacle, *(image.fsl_obstacle for image in (info.fixed, info.moving) if image is not None)):
        if reason:
            raise UserError(
                f'{path} cannot be used in FSL convention: {reason}',
                expected='images with sform or qform, in millimetres, whose voxel sizes agree',
                fix='correct the header, and make the transform again with the corrected image',
            )


def _needs_image(path: str | os.PathLike, convention: str, name: str) -> UserError:
    return UserError(
        f'{path}: a transform in {convention} convention cannot be used without the {name} image',
        expected=f'{CONVENTIONS[convention].frame}',
        fix=f'name it with --{name} FILE',
    )
