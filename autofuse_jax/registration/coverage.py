"""What is known beyond the border of an image: background where a face shows nothing else, and otherwise nothing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autofuse_jax.data.resample import resize_image
from autofuse_jax.transforms.resampling import sample_image

# Grey values in [0, 1] that differ by less are both background: noise is this strong at most.
BACKGROUND_TOLERANCE = 0.08
# A face that shows more of anything else than this share cuts through what is imaged.
LARGEST_CUT = 0.05
# A face of which less is valid says nothing.
SMALLEST_VALID = 0.5
# Bins of grey values among which the most frequent one of the border is sought.
BORDER_BINS = 32
# Share of a coarser voxel below which its value is not enlarged any further.
SMALLEST_SHARE = 1e-3


class Border(NamedTuple):
    """What the border of an image says of what lies beyond.

    Attributes:
        background: Grey value of the background, as the image has it.
        open: bool (3, 2), first and last face of each axis: True where beyond it there is background, False where the
            image ends in the middle of something and nothing is known.
    """

    background: float
    open: np.ndarray


def border_of(image: np.ndarray, valid: np.ndarray | None = None) -> Border:
    """Tell background from what is cut at each face of an image.

    The background is the most frequent grey value of the border. A skull-stripped head in a tight box has open faces
    only; a slab cut out of it has two that are closed; a window of the chest has none that are open.

    Args:
        image: (D, H, W), in [0, 1].
        valid: (D, H, W), 0 where the image says nothing; None: it counts everywhere.

    Returns:
        The background and the faces.
    """
    faces = [[np.take(image, end, axis).ravel() for end in (0, -1)] for axis in range(3)]
    if valid is not None:
        counts = [[np.take(valid, end, axis).ravel() > 0 for end in (0, -1)] for axis in range(3)]
        shares = np.array([[use.mean() for use in uses] for uses in counts])
        faces = [[face[use] for face, use in zip(*sides, strict=True)] for sides in zip(faces, counts, strict=True)]
    else:
        shares = np.ones((3, 2))
    values = np.concatenate([face for sides in faces for face in sides])
    if not values.size:
        return Border(0.0, np.zeros((3, 2), bool))
    histogram, edges = np.histogram(values, BORDER_BINS, (0.0, 1.0))
    most = int(histogram.argmax())
    background = float(np.median(values[(values >= edges[most]) & (values <= edges[most + 1])]))
    other = [
        [np.mean(np.abs(face - background) > BACKGROUND_TOLERANCE) if face.size else 1.0 for face in sides]
        for sides in faces
    ]
    return Border(background, (shares >= SMALLEST_VALID) & (np.array(other) <= LARGEST_CUT))


def add_rim(values: np.ndarray, valid: np.ndarray, open_faces: np.ndarray) -> np.ndarray:
    """Surround an image by one layer of what is known beyond its border, ready to be sampled anywhere.

    Positions beyond the rim are to be clipped to it. Values are stored times their validity: sampled values divided by
    the sampled validity are then interpolated between valid voxels only.

    Args:
        values: (D, H, W) or (D, H, W, C), 0 for background.
        valid: (D, H, W), in [0, 1].
        open_faces: bool (3, 2), `Border.open`.

    Returns:
        float32 (D + 2, H + 2, W + 2, C + 1): values times validity, and validity.
    """
    values = values if values.ndim == 4 else values[..., None]
    rimmed = np.zeros((*(size + 2 for size in valid.shape), values.shape[-1] + 1), np.float32)
    inner = (slice(1, -1),) * 3
    rimmed[inner][..., :-1] = values * valid[..., None]
    rimmed[inner][..., -1] = valid
    # The edges and corners of the rim belong to several faces: known is what lies beyond open ones only.
    for known in (True, False):
        for axis, side in np.argwhere(open_faces == known):
            np.moveaxis(rimmed[..., -1], axis, 0)[-side] = float(known)
    return rimmed


def resize_valid(values: np.ndarray, valid: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image over the same field of view as `data.resample.resize_image` does, valid voxels only.

    Args:
        values: (D, H, W), real numbers.
        valid: (D, H, W), in [0, 1].
        shape: The wanted shape.

    Returns:
        float32 values, 0 where nothing is valid, and float32 validity, both of that shape.
    """
    weights = resize_image(valid, shape)
    if np.all(valid == 1):
        return resize_image(values, shape), weights
    return resize_image(values * valid, shape) / np.maximum(weights, SMALLEST_SHARE) * (weights > 0), weights


def coverage(valid: np.ndarray, open_faces: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return how much of an image is known at any position.

    Args:
        valid: (D, H, W), in [0, 1].
        open_faces: bool (3, 2), `Border.open`.
        positions: (3, ...), in voxels of the image.

    Returns:
        float32 (...), in [0, 1].
    """
    return coverage_at(validity_rim(valid, open_faces), positions)


def validity_rim(valid: np.ndarray, open_faces: np.ndarray) -> np.ndarray:
    """Return how much of an image is known, with one layer of what is known beyond its border, see `add_rim`."""
    return np.ascontiguousarray(add_rim(valid[..., None][..., :0], valid, open_faces)[..., -1])


def coverage_at(rimmed: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return `coverage` at some positions, of a `validity_rim` that serves several calls."""
    last = np.asarray(rimmed.shape).reshape(3, *(1,) * (positions.ndim - 1)) - 1
    return sample_image(rimmed, np.clip(positions + 1, 0, last))
