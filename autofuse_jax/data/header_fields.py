"""The fields of a header as they are stored, without anything that could name a patient."""

import os
from typing import Any

import numpy as np

from autofuse_jax.data.file_kinds import NPZ, reader_of
from autofuse_jax.data.formats import open_image
from autofuse_jax.data.headers import header_facts
from autofuse_jax.data.npz_files import AFFINE_KEY, IMAGE_KEY, load_npz
from autofuse_jax.data.stored_images import StoredImage
from autofuse_jax.errors import UserError
from autofuse_jax.files import json_types

# Decimals of affines: a micrometre in the shift, and less than that over 1,000 voxels in the rest.
AFFINE_DECIMALS = 6


def header_fields(path: str | os.PathLike) -> dict[str, Any]:
    """List what a header says of the grid and the values of an image, whether or not this package would read it.

    Free text (NIfTI's descrip, aux_file, intent_name and extensions) is left out, because scanners write names there.

    Args:
        path: An image file, see `formats.open_image`.

    Returns:
        JSON types: format, shape, dtype, affine and, as far as the format has them, units, scaling, the codes of sform,
        qform and intent; spacing, orientation and remarks where `read_header` accepts the file, otherwise 'refused'.

    Raises:
        UserError: Missing or damaged file.
    """
    if reader_of(path) == NPZ:
        return _npz_fields(path)
    image = open_image(path)
    fields: dict[str, Any] = {
        'format': image.format,
        'shape': list(image.shape),
        'dtype': str(image.dtype),
        'affine': _rows(image.affine),
    }
    return fields | image.fields | _grid_fields(image)


def _npz_fields(path: str | os.PathLike) -> dict[str, Any]:
    arrays = load_npz(path)
    fields: dict[str, Any] = {
        'format': 'npz',
        'arrays': {name: f'{array.dtype} {list(array.shape)}' for name, array in arrays.items()},
    }
    if AFFINE_KEY in arrays and arrays[AFFINE_KEY].shape == (4, 4):
        fields['affine'] = _rows(arrays[AFFINE_KEY])
    if IMAGE_KEY not in arrays:
        return fields
    image = arrays[IMAGE_KEY]
    return fields | {'shape': list(image.shape), 'dtype': str(image.dtype)} | _grid_fields(open_image(path))


def _grid_fields(image: StoredImage) -> dict[str, Any]:
    try:
        facts = header_facts(image)
    except UserError as error:
        return {'refused': error.found}
    fields: dict[str, Any] = {
        'spacing_mm': [round(length, AFFINE_DECIMALS) for length in facts.spacing],
        'orientation': facts.orientation,
        'oblique_degrees': round(facts.oblique_degrees, 2),
    }
    return fields | ({'remarks': list(facts.remarks)} if facts.remarks else {})


def _rows(matrix: np.ndarray) -> list[list[float | None]]:
    # Adding 0 makes -0 a 0.
    return json_types(np.asarray(matrix, np.float64).round(AFFINE_DECIMALS) + 0.0)
