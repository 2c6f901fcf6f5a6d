"""Prepared frames: making one from a source volume, writing it, recognising it later, and reading it for training."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.formats import AFFINE_KEY, IMAGE_KEY, LABELS_KEY, load_npz, store_npz
from autofuse_jax.data.intensity import min_max_normalise
from autofuse_jax.data.manifests import Frame, Manifest
from autofuse_jax.data.resample import center_crop_or_pad, resample_image, resample_labels
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.storage.contents import content_hash
from autofuse_jax.transforms.grids import affine_fault, cut_grid, respace_grid

# Text in the npz that says what the frame was made from; with another text the frame is made again.
ORIGIN_KEY = 'origin'
# Label map with the ids of the source, where training has classes of its own.
ORIGINAL_LABELS_KEY = 'seg_original'
# Types in which images may be stored, and the number that stands for the intensity 1: smaller ones travel more easily.
STORED_ONES = {'float32': 1, 'float16': 1, 'uint8': 255}


@dataclasses.dataclass(frozen=True)
class Grid:
    """The grid that every prepared volume of a data set has.

    Attributes:
        shape: (D, H, W) in voxels.
        spacing: Voxel size along (D, H, W) in millimetres.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


def prepare_volume(volume: Volume, grid: Grid, classes: Sequence[int]) -> Volume:
    """Resample, crop or pad and normalise one volume.

    Images are resampled trilinearly, labels by nearest neighbour. The part of the image that the grid covers is scaled
    to [0, 1]; voxels of the grid outside the image are 0 and do not count for the scaling.

    Args:
        volume: 3-D image, labels or None.
        grid: The wanted grid.
        classes: The label ids that may occur.

    Returns:
        float32 image, uint8 labels or None, and the affine of the prepared grid.

    Raises:
        UserError: A label id that is none of the classes, or an image without contrast inside the grid.
    """
    image = resample_image(volume.image, volume.spacing, grid.spacing)
    resampled = respace_grid(volume.grid, grid.spacing, image.shape)
    kept_shape = [min(sizes) for sizes in zip(image.shape, grid.shape, strict=True)]
    crop, cropped_from = center_crop_or_pad(image, kept_shape)
    image, padded_from = center_crop_or_pad(min_max_normalise(crop, volume.name), grid.shape)
    # Along each axis only one of the two steps moves the start.
    start = [cropped + padded for cropped, padded in zip(cropped_from, padded_from, strict=True)]
    affine = cut_grid(resampled, start, grid.shape).affine
    labels = None
    if volume.labels is not None:
        _check_label_ids(volume.labels, classes, volume.name)
        labels = resample_labels(volume.labels, volume.spacing, grid.spacing).astype(np.uint8)
        labels, _ = center_crop_or_pad(labels, grid.shape)
    return Volume(image, labels, affine, volume.name)


def write_frame(
    path: str | os.PathLike, volume: Volume, origin: str, more: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write a prepared volume as npz with `vol`, `affine`, `origin` and, where it has labels, `seg`.

    Args:
        path: Ends in .npz.
        volume: Volume from `prepare_volume`.
        origin: Text that identifies the source file and the settings.
        more: Further arrays by name; default none.

    Raises:
        OSError: The file cannot be written; nothing is left half-written.
    """
    arrays = {IMAGE_KEY: volume.image, AFFINE_KEY: volume.affine, ORIGIN_KEY: np.array(origin), **(more or {})}
    if volume.labels is not None:
        arrays[LABELS_KEY] = volume.labels
    store_npz(path, arrays)


def origin_of(settings: Mapping[str, Any], files: Sequence[Path | None], *more: Any) -> str:
    """Identify what a frame is made from by a hash of the contents of its files, whatever their names and folder.

    Args:
        settings: Settings that determine the result, JSON-compatible.
        files: Source files; None stands for one that there is not.
        more: Further marks of the frame, JSON-compatible, such as its number in a series.

    Returns:
        Text that differs where any of these or the bytes of a file differ.

    Raises:
        UserError: A file cannot be read.
    """
    return _hash_of(settings, [_hash_of_file(path) for path in files if path is not None], more)


def _hash_of_file(path: Path) -> str:
    try:
        return content_hash(path)
    except OSError as error:
        # Told as a fault of this file: an error of the system would end the preparation of all.
        raise UserError(
            f'{path} cannot be read ({error.strerror})', fix='check its permissions and its disk'
        ) from error


def _earlier_origin_of(settings: Mapping[str, Any], files: Sequence[Path | None], *more: Any) -> str:
    """What stood in place of `origin_of` before contents counted: names and sizes of the files."""
    return _hash_of(settings, [[path.name, path.stat().st_size] for path in files if path is not None], more)


def _hash_of(settings: Mapping[str, Any], described: Sequence[Any], more: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([settings, described, *more], sort_keys=True).encode()).hexdigest()


def read_finished(
    path: str | os.PathLike, settings: Mapping[str, Any], files: Sequence[Path | None], *more: Any
) -> dict[str, np.ndarray] | None:
    """Read a frame that an earlier run has finished.

    Args:
        path: File that the frame would have.
        settings: Settings that determine it, see `origin_of`.
        files: Its source files.
        more: Further marks of it.

    Returns:
        The arrays of the file, or None where it is absent, damaged or of another origin. A frame that says only names
        and sizes of its sources, as those of earlier versions do, is of this origin if no source has changed since.
    """
    if not Path(path).is_file():
        return None
    try:
        arrays = load_npz(path)
    except UserError:
        # A damaged frame is no concern of the user: the preparation replaces it.
        return None
    recorded = str(arrays.get(ORIGIN_KEY))
    if recorded == origin_of(settings, files, *more):
        return arrays
    made = Path(path).stat().st_mtime
    unchanged = all(file.stat().st_mtime <= made for file in files if file is not None)
    return arrays if unchanged and recorded == _earlier_origin_of(settings, files, *more) else None


def load_frame(manifest: Manifest, frame: Frame) -> Volume:
    """Read one prepared frame and check it against the manifest.

    Args:
        manifest: The manifest that lists the frame.
        frame: The frame.

    Returns:
        Image float32 (D, H, W) in [0, 1] whatever the type in the file (`STORED_ONES`), labels uint8 or None, affine
        (4, 4), and the frame's `file` as name.

    Raises:
        UserError: The file is missing or damaged, or its shape, values or label ids are not those of the manifest.
    """
    path = manifest.root / frame.file
    fix = 'prepare the data again; finished files are kept'
    if not path.is_file():
        raise UserError(f'the manifest names {path}, which does not exist', fix=fix)
    keys = [IMAGE_KEY, AFFINE_KEY] + [LABELS_KEY] * frame.has_labels
    arrays = load_npz(path, keys, fix=fix)
    absent = [key for key in keys if key not in arrays]
    if absent:
        raise UserError(f'{path} lacks {", ".join(absent)}', expected=f'the arrays {", ".join(keys)}', fix=fix)
    image, labels = arrays[IMAGE_KEY], arrays[LABELS_KEY] if frame.has_labels else None
    if image.shape != manifest.shape or image.dtype.name not in STORED_ONES:
        expected = f'{", ".join(reversed(STORED_ONES))} {manifest.shape}'
        raise UserError(f'{path} holds {image.dtype} {image.shape}', expected=expected, fix=fix)
    image = decoded_image(image)
    if not np.isfinite(image).all():
        raise UserError(f'{path} holds NaN or infinite values', fix=fix)
    fault = affine_fault(arrays[AFFINE_KEY])
    if fault:
        raise UserError(f'the affine of {path} {fault}', fix=fix)
    if labels is not None:
        if labels.shape != manifest.shape or labels.dtype != np.uint8:
            contents = f'{path} holds labels {labels.dtype} {labels.shape}'
            raise UserError(contents, expected=f'uint8 {manifest.shape}', fix=fix)
        if labels.max() >= len(manifest.classes):
            _check_label_ids(labels, list(manifest.classes), str(path))
    return Volume(image, labels, arrays[AFFINE_KEY], frame.file)


def encoded_image(image: np.ndarray, stored_type: str) -> np.ndarray:
    """Return an image as it is stored in a type: `round(s x)` for whole numbers, x rounded to the nearest float else.

    Args:
        image: float32, in [0, 1].
        stored_type: A key of `STORED_ONES`, whose value is s.

    Returns:
        The same shape. uint8 is off by at most 1 / 510, float16 by at most 2^-12, float32 by nothing.
    """
    scaled = image * STORED_ONES[stored_type]
    return (np.rint(scaled) if np.issubdtype(stored_type, np.integer) else scaled).astype(stored_type)


def decoded_image(stored: np.ndarray) -> np.ndarray:
    """Return a stored image as float32 in [0, 1]; float32 itself is not copied.

    Args:
        stored: In one of the types of `STORED_ONES`.
    """
    if stored.dtype == np.float32:
        return stored
    return stored.astype(np.float32) / np.float32(STORED_ONES[stored.dtype.name])


def load_original_labels(manifest: Manifest, frame: Frame) -> np.ndarray | None:
    """Read the label map of one prepared frame with the ids of the source.

    Args:
        manifest: The manifest that lists the frame; it has `original_classes`.
        frame: The frame.

    Returns:
        Integer (D, H, W); None where the frame has no labels.

    Raises:
        UserError: The file is missing or damaged, or holds no such label map of the manifest's shape.
    """
    if not frame.has_labels:
        return None
    path = manifest.root / frame.file
    fix = 'prepare the data again; finished files are kept'
    labels = load_npz(path, [ORIGINAL_LABELS_KEY], fix=fix).get(ORIGINAL_LABELS_KEY)
    if labels is None or labels.shape != manifest.shape or labels.dtype.kind not in 'iu':
        contents = 'no such array' if labels is None else f'{labels.dtype} {labels.shape}'
        raise UserError(
            f'{path} holds {contents} under {ORIGINAL_LABELS_KEY}', expected=f'integers {manifest.shape}', fix=fix
        )
    return labels


def _check_label_ids(labels: np.ndarray, classes: Sequence[int], name: str) -> None:
    unknown = sorted(set(np.unique(labels).tolist()) - set(classes))
    if unknown:
        raise UserError(
            f'the labels of {name} hold the unknown ids {unknown}',
            expected=f'only {sorted(classes)}',
            fix='check that the label map belongs to this data set',
        )
