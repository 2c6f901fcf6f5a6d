"""Transforms in ITK's MATLAB files, such as ANTs' 0GenericAffine.mat: two matrices in MATLAB's format of version 4."""

import os

import numpy as np
from scipy import io

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.field_files import check_is_file
from autofuse_jax.transforms_io.itk_kinds import COMPOSITE, entry, transform_of

FIXED = 'fixed'
MATLAB_5 = b'MATLAB 5.0'
SNIFFED_BYTES = 128


def read_itk_matlab(path: str | os.PathLike) -> AffineTransform | DenseTransform | Chain:
    """Read a transform of ITK.

    Args:
        path: The file: a matrix named by the kind of transform, and one named 'fixed'.

    Returns:
        The transform, in RAS.

    Raises:
        UserError: Missing or damaged file, text, MATLAB's format of another version, matrices of something else, or
            what `itk_kinds` does not read.
    """
    check_is_file(path)
    with open(path, 'rb') as file:
        start = file.read(SNIFFED_BYTES)
        if start.startswith(MATLAB_5):
            raise UserError(
                f'{path} is a MATLAB file of version 5, as SPM writes them',
                expected='a transform of ITK or ANTs (version 4), or a matrix of FLIRT (text)',
                fix='save the matrix as ITK transform, for instance with c3d_affine_tool',
            )
    # Each matrix of version 4 begins with numbers of four bytes, of which some are 0.
    if start and start.isascii() and b'\0' not in start:
        raise UserError(
            f'{path} is a text file, but no matrix of 4 x 4 numbers',
            expected='four lines of four numbers with decimal points, as FLIRT writes them',
            fix='fetch it again; commas in its numbers come from the language of a system',
        )
    try:
        # Version 4 holds numbers only; nothing is ever unpickled.
        content = io.loadmat(os.fspath(path), appendmat=False)
        # Of matrices of one name, the content has the last one only.
        names = [name for name, *_ in io.whosmat(os.fspath(path), appendmat=False) if name != FIXED]
    except Exception as error:  # SciPy raises whatever its parser meets in a damaged file.
        raise UserError(
            f'{path} is no MATLAB file of version 4 ({error!r})',
            expected='a transform of ITK or ANTs, or a matrix of FLIRT as text',
            fix='check that it was copied completely',
        ) from error
    if len(names) != 1 or '_' not in names[0]:
        raise UserError(
            f'{path} holds the matrices {", ".join(names) or "none"}',
            expected=f'one that is named after a transform of ITK, and {FIXED!r}',
        )
    if names[0].startswith(COMPOSITE):
        raise UserError(
            f'{path} was a {COMPOSITE}, of which a MATLAB file keeps no more than numbers',
            expected='one linear transform',
            fix='save it as .h5 or .tfm',
        )
    values = [np.asarray(content.get(name, ())) for name in (names[0], FIXED)]
    if any(array.dtype.kind not in 'biuf' for array in values):
        # A damaged header makes text or complex numbers of them.
        raise UserError(
            f'{path} holds a matrix of {values[0].dtype} and one of {values[1].dtype}',
            expected='real numbers',
            fix='check that it was copied completely',
        )
    return transform_of(path, [entry(names[0], *values)])
