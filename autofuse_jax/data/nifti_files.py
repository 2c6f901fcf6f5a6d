"""NIfTI, Analyze and MGH files, which nibabel reads: compressed or not whatever their name, in any unit of length."""

import dataclasses
import io
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from autofuse_jax.data.compressed import gzip_layers, whole_content
from autofuse_jax.data.file_kinds import DAMAGED_FILE_ERRORS, check_is_file, unreadable
from autofuse_jax.data.nifti_forms import place_of
from autofuse_jax.data.notes import NO_NOTES, UNKNOWN_UNIT, Notes
from autofuse_jax.data.stored_images import StoredImage

MGH_MAGIC = b'\0\0\0\x01'
# The longest header, that of NIfTI-2.
SNIFFED_BYTES = 544
GZIP_SUFFIXES = ('.gz', '.mgz')
# Codes of units in NIfTI: the lower three bits of xyzt_units for lengths, the next three for times.
MILLIMETRES_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
LENGTH_BITS, TIME_BITS = 7, 56
TIME_UNITS = {8: 'sec', 16: 'msec', 24: 'usec', 32: 'hz', 40: 'ppm', 48: 'rads'}
# The unit of MGH files.
MILLISECONDS = 'msec'
MILLISECONDS_PER_UNIT = {'sec': 1000.0, MILLISECONDS: 1.0, 'usec': 0.001}


def open_with_nibabel(path: str | os.PathLike) -> StoredImage:
    """Open a NIfTI, Analyze or MGH file.

    Args:
        path: The file; of a pair .hdr and .img, either.

    Returns:
        The image.

    Raises:
        UserError: Missing or damaged file.
    """
    path = Path(path)
    check_is_file(path)
    try:
        image: Any = _load(path)
        shape = tuple(int(size) for size in image.shape)
        shape += (1,) * (3 - len(shape))
        header = image.header
        is_nifti = isinstance(header, nib.Nifti1Header)
        units = int(header['xyzt_units']) if is_nifti else 0
        unit_mm = MILLIMETRES_PER_UNIT.get(units & LENGTH_BITS)
        place = place_of(image, path.name, unit_mm or 1.0)
    except DAMAGED_FILE_ERRORS as error:
        raise unreadable(path, error) from error

    def read() -> np.ndarray:
        try:
            return np.asanyarray(_complete(image).dataobj).reshape(shape)
        except DAMAGED_FILE_ERRORS as error:
            raise unreadable(path, error) from error

    notes, intent, fields = Notes(itk_obstacle=place.itk_obstacle, fsl_obstacle=place.fsl_obstacle), {}, {}
    if is_nifti:
        notes = dataclasses.replace(
            notes,
            time_step=float(header['pixdim'][4]),
            time_offset=float(header['toffset']),
            time_unit=TIME_UNITS.get(units & TIME_BITS, UNKNOWN_UNIT),
            description=header['descrip'].item(),
        )
        intent_name = header['intent_name'].item().decode('latin-1')
        intent = {'intent': int(header['intent_code']), 'intent_name': intent_name}
        fields = _fields(image)
    elif isinstance(image, nib.MGHImage) and len(shape) > 3:
        notes = Notes(time_step=float(header['tr']), time_unit=MILLISECONDS)
    return StoredImage(
        path,
        format=type(image).__name__.removesuffix('Image'),
        shape=shape,
        dtype=image.get_data_dtype(),
        affine=place.affine,
        read=read,
        notes=notes,
        remarks=place.remarks if unit_mm else (*place.remarks, _unknown_unit(path)),
        fields=fields,
        **intent,
    )


def _load(path: Path) -> nib.spatialimages.SpatialImage:
    """Open a file by its content where that is compressed more or less often than its name says."""
    if gzip_layers(path) == path.name.lower().endswith(GZIP_SUFFIXES):
        return nib.load(path)  # type: ignore[return-value]  # All formats read here have an affine.
    values = io.BytesIO(whole_content(path))
    start = values.getvalue()[:SNIFFED_BYTES]
    if start.startswith(MGH_MAGIC):
        return nib.MGHImage.from_stream(values)
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        if kind.header_class.may_contain_header(start):
            return kind.from_stream(values)
    raise nib.filebasedimages.ImageFileError('its content is neither NIfTI nor MGH')


def _complete(image: Any) -> Any:
    """Return an opened image with all of its content, where its files are compressed: nibabel stops at the last value.

    Args:
        image: The image as nibabel opened it.

    Raises:
        Exception: One of `DAMAGED_FILE_ERRORS`: a checksum or a length is wrong.
    """
    # Analyze files may have a matrix beside them, or not.
    names = {role: holder.filename for role, holder in image.file_map.items() if os.path.isfile(holder.filename or '')}
    packed = {name for name in names.values() if gzip_layers(name)}
    if not packed:
        return image
    # A single file is both header and image.
    content = {name: whole_content(name) if name in packed else Path(name).read_bytes() for name in set(names.values())}
    holders = {role: nib.FileHolder(fileobj=io.BytesIO(content[name])) for role, name in names.items()}
    return type(image).from_file_map(holders)


def _unknown_unit(path: Path) -> str:
    return f'{path.name} counts in a unit of length that NIfTI does not know: millimetres are taken'


def _fields(image: Any) -> dict[str, Any]:
    """Fields of a NIfTI header; of its scaling, which an opened image has forgotten, the values know."""
    header, scaled = image.header, image.dataobj
    units = int(header['xyzt_units'])
    try:
        words = ' '.join(header.get_xyzt_units())
    except KeyError:
        words = f'code {units}'
    fields: dict[str, Any] = {'units': words}
    if isinstance(scaled, nib.arrayproxy.ArrayProxy):
        fields |= {'scl_slope': float(scaled.slope), 'scl_inter': float(scaled.inter)}
    return fields | {name: int(header[name]) for name in ('sform_code', 'qform_code', 'intent_code')}


def nifti_image(array: np.ndarray, affine: np.ndarray, notes: Notes = NO_NOTES) -> nib.Nifti1Image:
    """Return an array as NIfTI in millimetres, with the same sform and qform and with notes.

    Args:
        array: The values, in a type that NIfTI holds.
        affine: (4, 4), voxel indices to RAS millimetres.
        notes: Times and text for the header.
    """
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code='scanner')
    image.set_qform(affine, code='scanner')
    header = image.header
    header.set_xyzt_units('mm', notes.time_unit)
    # A new header holds 1, which with a unit would be a time that nobody measured.
    if notes.time_step or notes.time_unit != UNKNOWN_UNIT:
        header['pixdim'][4] = notes.time_step
    header['toffset'] = notes.time_offset
    header['descrip'] = notes.description
    return image


def mgh_image(array: np.ndarray, affine: np.ndarray, notes: Notes = NO_NOTES) -> nib.MGHImage:
    """Return an array as MGH, a series with its repetition time.

    Args:
        array: The values, in a type that MGH holds.
        affine: (4, 4), voxel indices to RAS millimetres.
        notes: Times for the header.
    """
    image = nib.MGHImage(array, np.asarray(affine, np.float32))
    if array.ndim > 3 and notes.time_unit in MILLISECONDS_PER_UNIT:
        image.header['tr'] = notes.time_step * MILLISECONDS_PER_UNIT[notes.time_unit]
    return image
