"""One image or label map on its way through a transform, and what the user is told of it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.background import Background, choose_background
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, slabs, to_voxels
from autofuse_jax.transforms.resampling import covered, sample_known

# An image of no more different whole numbers than this may be a label map.
MOST_LABELS = 150


def moved_image(
    path: Path, volume: Volume, positions: np.ndarray, wanted: float | str, say: Callable[[str], Any]
) -> np.ndarray:
    """Sample an image or a series, and say what stands where nothing is known.

    Args:
        path: Its file, for the sentences.
        volume: The image, NaN where data are missing.
        positions: (3, D, H, W), where each voxel of the result reads, in voxels of the image.
        wanted: Value where the image does not reach, see `choose_background`.
        say: Callback for every sentence to the user.

    Returns:
        float32 (D, H, W) or (D, H, W, T).
    """
    background = choose_background(volume.image, wanted)
    outside = 1 - covered(volume.grid.shape, positions).mean()
    for sentence in filling_sentences(path, volume.image, outside, background):
        say(sentence)
    sample = functools.partial(sample_known, background=background.value)
    return frame_by_frame(sample, volume.image, positions)


def frame_by_frame(
    sample: Callable[[np.ndarray, np.ndarray], np.ndarray], array: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """Sample an array, or each frame of a series at the same places.

    Args:
        sample: Function of an array (D, H, W) and the positions.
        array: (D, H, W) or (D, H, W, T).
        positions: (3, D', H', W'), in its voxels.

    Returns:
        (D', H', W') or (D', H', W', T).
    """
    if array.ndim == 3:
        return sample(array, positions)
    return np.stack([sample(frame, positions) for frame in np.moveaxis(array, -1, 0)], axis=-1)


def filling_sentences(name: str | Path, image: np.ndarray, outside: float, background: Background) -> list[str]:
    """Say what stands in a moved image where nothing of it is known, and where it shows nothing at all.

    Args:
        name: Its file.
        image: (D, H, W) or (D, H, W, T), NaN where data are missing.
        outside: Share of the result that lies outside of it, 0 to 1.
        background: What is filled in there.

    Returns:
        The sentences, none where there is nothing to say.
    """
    sentences = []
    if outside:
        share = f'{100 * outside:.2g} %' if outside < 0.1 else f'{100 * outside:.0f} %'
        sentences.append(f'{name}: {share} of the result lies outside of it and is filled with {background.sentence}')
    missing = int(np.isnan(image).sum())
    if missing:
        sentences.append(
            f'{name}: {missing} voxels are NaN; they are missing data and stay NaN where nothing else is known'
        )
    low, high = np.nanmin(image), np.nanmax(image)
    if low == high:
        sentences.append(f'{name} has the same value {low:g} everywhere')
    return sentences


def positions_in(path: Path, mapped: np.ndarray, grid: ImageGrid) -> np.ndarray:
    """Return where each voxel of the result reads an image.

    Args:
        path: Its file, for the message.
        mapped: (D, H, W, 3), places in the world of the image, RAS millimetres.
        grid: Its grid.

    Returns:
        float64 (3, D, H, W), in voxels of the image.

    Raises:
        UserError: All of them lie outside of it.
    """
    positions = np.empty((3, *mapped.shape[:-1]))
    for rows in slabs(mapped.shape):
        positions[:, rows] = np.moveaxis(to_voxels(grid.affine, mapped[rows]), -1, 0)
    if not covered(grid.shape, positions).any():
        raise UserError(
            f'{path} does not overlap with the result: every voxel of the output grid falls outside of it',
            fix='check that the transform belongs to this image, and whether its inverse is meant (inverse:FILE)',
        )
    return positions


def label_hint(name: str | Path, image: np.ndarray, remedy: str) -> str:
    """Return a sentence where an image may be a label map, and otherwise nothing.

    Args:
        name: Its file.
        image: Its values.
        remedy: What to do with a label map, and why, in words.

    Returns:
        The sentence, or ''.
    """
    values = np.unique(image)
    # Of one value nothing can be mixed.
    if not 1 < len(values) <= MOST_LABELS or not np.array_equal(values, np.rint(values)):
        return ''
    return f'hint: {name} holds {len(values)} different whole numbers only; if it is a label map, {remedy}'


def warn_of_lost_labels(path: Path, labels: np.ndarray, warped: np.ndarray, say: Callable[[str], Any]) -> None:
    """Say which labels of a map are not on the result.

    Args:
        path: The label map.
        labels: Its labels.
        warped: Labels of the result.
        say: Callback for the sentence.
    """
    lost = sorted(set(np.unique(labels).tolist()) - set(np.unique(warped).tolist()))
    if lost:
        say(f'warning: of {path} the labels {", ".join(map(str, lost))} are not on the result')
