"""Recognising what a file is: by its sidecar, else by its header, suffix and name."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np

from autofuse_jax.data.formats import KNOWN_SUFFIXES
from autofuse_jax.errors import UserError
from autofuse_jax.transforms_io.conventions import AFFINE, CONVENTIONS, FSL, ITK, LEARN2REG, LTA, VOXEL
from autofuse_jax.transforms_io.field_files import UNNAMED_KEY, TransformFile, check_is_file, open_field
from autofuse_jax.transforms_io.fsl import COEFFICIENT_INTENTS, FIELD_INTENT
from autofuse_jax.transforms_io.fsl_affine import matrix_in
from autofuse_jax.transforms_io.itk import DISPLACEMENT_INTENT, VECTOR_INTENT
from autofuse_jax.transforms_io.itk_hdf5 import HDF5_SUFFIXES
from autofuse_jax.transforms_io.itk_text import TEXT_SUFFIXES
from autofuse_jax.transforms_io.lta import LTA_SUFFIX, read_lta
from autofuse_jax.transforms_io.sidecar import TransformInfo, read_sidecar, sidecar_path
from autofuse_jax.transforms_io.voxel import VOXEL_INTENT_NAME

# How Learn2Reg names its fields: disp_0001_0002.nii.gz, some tasks with a modality behind the numbers.
LEARN2REG_NAME = re.compile(r'disp_\d{4}(_\d{4})?_\d{4}(_\d{4})?\.(nii\.gz|nii|npz)')
NIFTYREG_INTENT_NAME = 'NREG_TRANS'
# A volume of few whole numbers is taken for a label map in messages; whole-brain protocols have up to 150 or so.
MOST_LABELS = 200
MATRIX_SUFFIX = '.mat'
AFFINE_SUFFIXES = (*TEXT_SUFFIXES, MATRIX_SUFFIX, LTA_SUFFIX)
TRANSFORM_SUFFIXES = (*KNOWN_SUFFIXES, *AFFINE_SUFFIXES, *HDF5_SUFFIXES)
FOREIGN_SUFFIXES = {
    '.x5': 'a transform in X5 format of nitransforms',
    '.nrrd': 'an image or a displacement field of 3D Slicer',
    '.xfm': 'an affine transform of MINC or FreeSurfer (its lta_convert makes an .lta file of it)',
    '.dat': 'a registration of FreeSurfer (its tkregister2 --ltaout makes an .lta file of it)',
    '.m3z': 'a nonlinear transform of FreeSurfer (its mri_warp_convert makes a field of ITK of it)',
}


@dataclasses.dataclass(frozen=True, eq=False)
class Recognised:
    """What a file turned out to be, before its numbers are turned into a transform.

    Attributes:
        path: The file.
        info: Content of its sidecar; without one, kind and convention as recognised, and images that the file names.
        field: The opened file of a dense transform; None for other files.
    """

    path: Path
    info: TransformInfo
    field: TransformFile | None


def recognise(path: str | os.PathLike, convention: str | None = None) -> Recognised:
    """Find out what a file is: by its sidecar, else by its header, suffix and name.

    Args:
        path: The file.
        convention: Convention that the user says it is in, or None.

    Returns:
        Kind, convention and, of a dense transform, the opened file.

    Raises:
        UserError: It cannot be read, is no transform, or fits several conventions.
    """
    path = Path(path)
    # Files that this package never writes have no sidecar; one of that stem belongs to another file.
    info = None if path.suffix.lower() in (MATRIX_SUFFIX, LTA_SUFFIX) else read_sidecar(path)
    if info is not None and convention not in (None, info.convention):
        raise UserError(
            f'{sidecar_path(path)} says that {path.name} is in {info.convention} convention, not {convention}',
            fix='leave out --convention, or move the sidecar away if it belongs to another file',
        )
    composite = is_composite(path)
    if info is not None and not composite and (info.kind == AFFINE) != is_affine(path):
        raise UserError(
            f'{sidecar_path(path)} describes a transform of another kind ({info.kind}) than {path.name} can hold',
            fix='give files of one folder names that differ in more than the suffix, or move the sidecar away',
        )
    if composite or is_affine(path):
        check_is_file(path)
        return Recognised(path, info or _affine_info(path, convention), None)
    if path.is_file() and not path.name.lower().endswith(KNOWN_SUFFIXES):
        kind = FOREIGN_SUFFIXES.get(path.suffix.lower(), f'a file of unknown kind ({path.suffix or "no suffix"})')
        raise UserError(
            f'{path} looks like {kind}, which this package does not read',
            expected=f'one of {", ".join(TRANSFORM_SUFFIXES)}',
            fix='convert it to a displacement field in ITK convention with the program that wrote it',
        )
    file = open_field(path)
    _check_is_field(file)
    return Recognised(path, info or TransformInfo(convention=convention or _convention_of(file)), file)


def is_affine(path: str | os.PathLike) -> bool:
    """Tell by the suffix whether a file holds an affine transform."""
    return Path(path).suffix.lower() in AFFINE_SUFFIXES


def is_composite(path: str | os.PathLike) -> bool:
    """Tell by the suffix whether a file may hold transforms of any kind and number."""
    return Path(path).suffix.lower() in HDF5_SUFFIXES


def _affine_info(path: Path, convention: str | None) -> TransformInfo:
    """Recognise a file that is no field and has no sidecar."""
    suffix, fixed, moving = path.suffix.lower(), None, None
    if suffix == LTA_SUFFIX:
        fitting = LTA
        _, fixed, moving = read_lta(path)
    elif not is_composite(path) and matrix_in(path) is not None:
        # A bare matrix in .mat is FLIRT's; in .txt it may be anybody's, so that the user must say it.
        fitting = FSL if suffix == MATRIX_SUFFIX or convention == FSL else ITK
    else:
        fitting = ITK
    if convention not in (None, fitting):
        raise UserError(f'{path} is in {fitting} convention, not {convention}', fix='leave out --convention')
    return TransformInfo(kind=AFFINE, convention=fitting, fixed=fixed, moving=moving)


def _check_is_field(file: TransformFile) -> None:
    array, fix = file.array, 'name the transform; images go to --image, label maps to --labels'
    expected = 'a displacement field with three numbers per voxel, or a file of ITK, FSL or FreeSurfer'
    # A volume (D, H, W), perhaps with axes of length 1 behind.
    if set(array.shape[3:]) <= {1}:
        whole = array.dtype.kind != 'f' or np.array_equal(array, np.rint(array))
        kind = 'a label map' if whole and len(np.unique(array)) <= MOST_LABELS else 'an image'
        shape = 'x'.join(str(size) for size in array.shape)
        raise UserError(f'{file.path} is no transform but {kind} of {shape} voxels', expected=expected, fix=fix)
    if array.ndim == 5 and array.shape[3] > 1:
        raise UserError(
            f'{file.path} is a series of {array.shape[3]} fields: its shape is {array.shape}',
            expected='one displacement field',
            fix='save the field of one frame, (D, H, W, 3), and name its convention; those that register writes for a '
            'series are in voxels (--convention voxel)',
        )
    if array.ndim == 5 and array.shape[2:] == (1, 1, 2):
        raise UserError(
            f'{file.path} is a displacement field of a plane: its shape is {array.shape}',
            expected='three numbers for each voxel',
            fix='save it with a third number, which is 0 in a plane, as (D, H, 1, 1, 3)',
        )
    if 3 not in (array.shape[-1], array.shape[0]):
        raise UserError(
            f'{file.path} is no transform: its shape {array.shape} is that of a series of images',
            expected=expected,
            fix=fix,
        )


def _convention_of(file: TransformFile) -> str:
    """Recognise a field without sidecar."""
    if file.intent_name == NIFTYREG_INTENT_NAME:
        raise UserError(
            f'{file.path} is a transform of NiftyReg, which this package does not read',
            fix='let NiftyReg make displacements of it (reg_transform -disp) and convert those to ITK convention',
        )
    if file.intent == FIELD_INTENT or file.intent in COEFFICIENT_INTENTS:
        return FSL
    if file.array.ndim == 5 and file.intent in (VECTOR_INTENT, DISPLACEMENT_INTENT):
        return ITK
    if file.intent_name == VOXEL_INTENT_NAME:
        return VOXEL
    if file.key:
        return LEARN2REG if file.key == UNNAMED_KEY else VOXEL
    if LEARN2REG_NAME.fullmatch(file.path.name):
        return LEARN2REG
    fitting = (ITK,) if file.array.ndim == 5 else (VOXEL, LEARN2REG, FSL)
    why = 'no intent in its header' if file.intent == 0 else f'the intent code {file.intent} in its header'
    raise UserError(
        f'{file.path} has shape {file.array.shape}, {why} and no sidecar, so its convention is not known',
        expected='; '.join(f'{name} ({CONVENTIONS[name].short})' for name in fitting),
        fix=f'name the one that the program which wrote it uses: --convention {" or ".join(fitting)}',
    )
