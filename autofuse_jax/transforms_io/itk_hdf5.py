"""Transforms in ITK's HDF5 files (.h5), ANTs' Composite.h5 above all; needs the package h5py."""

import os
from types import ModuleType
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.files import replacing
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.field_files import check_is_file
from autofuse_jax.transforms_io.hdf5_heaps import check_heaps
from autofuse_jax.transforms_io.itk_kinds import NAME_SUFFIX, Entry, entries_of, entry, transform_of

HDF5_SUFFIXES = ('.h5', '.hdf5')
GROUP, KIND = 'TransformGroup', 'TransformType'
# Files before ITK 5 lack a letter.
PARAMETERS, FIXED_PARAMETERS = ((f'Transform{name}', f'Tranform{name}') for name in ('Parameters', 'FixedParameters'))


def write_itk_hdf5(path: str | os.PathLike, transform: AffineTransform | DenseTransform | Chain) -> None:
    """Write a transform for ITK; a chain becomes a composite whose parts stay what they are.

    Args:
        path: Ends in .h5 or .hdf5.
        transform: The transform.

    Raises:
        UserError: The package h5py is missing, a matrix is singular, or a grid has axes that are not at right angles.
        OSError: The file cannot be written.
    """
    h5py = library(path)
    entries = entries_of(path, transform)
    with replacing(path) as temporary, h5py.File(temporary, 'w') as file:
        for number, part in enumerate(entries):
            group = file.create_group(f'{GROUP}/{number}')
            text = h5py.string_dtype('ascii')
            group.create_dataset(KIND, data=[part.kind + NAME_SUFFIX], dtype=text)
            for name, values in zip(
                (PARAMETERS[0], FIXED_PARAMETERS[0]), (part.parameters, part.fixed_parameters), strict=True
            ):
                if values.size:
                    group.create_dataset(name, data=values, compression='gzip' if values.size > 100 else None)


def read_itk_hdf5(path: str | os.PathLike) -> AffineTransform | DenseTransform | Chain:
    """Read a transform of ITK.

    Args:
        path: The file: a linear transform, a displacement field, or a composite of such.

    Returns:
        The transform, in RAS.

    Raises:
        UserError: The package h5py is missing, the file is missing, damaged or of something else, or holds what
            `itk_kinds` does not read.
    """
    check_is_file(path)
    h5py = library(path)
    check_heaps(path)
    try:
        with h5py.File(path, 'r') as file:
            groups = file.get(GROUP)
            if not isinstance(groups, h5py.Group):
                raise UserError(
                    f'{path} is an HDF5 file of something else ({", ".join(file) or "empty"})',
                    expected=f'a transform of ITK, with a group {GROUP!r}',
                )
            entries = [_entry(groups[number]) for number in sorted(groups, key=int)]
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        reason = ' '.join(str(error).split())
        raise UserError(f'{path} cannot be read ({reason})', fix='check that it was copied completely') from error
    return transform_of(path, entries)


def _entry(group: Any) -> Entry:
    name = _values(group, KIND).ravel()[0]
    return entry(
        name.decode() if isinstance(name, bytes) else str(name),
        *(next((_values(group, key) for key in keys if key in group), ()) for keys in (PARAMETERS, FIXED_PARAMETERS)),
    )


def _values(group: Any, key: str) -> np.ndarray:
    return np.asarray(group[key][()])


def library(path: str | os.PathLike) -> ModuleType:
    """Return the package h5py.

    Args:
        path: The file that needs it, for the message.

    Raises:
        UserError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f'{path} is an HDF5 file, which needs the package h5py', fix="pip install 'autofuse_jax[hdf5]'"
        ) from error
    return h5py
