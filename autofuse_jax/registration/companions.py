"""Further images of the moving side that ride along: read and checked before the work, moved after it."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.applying.volumes import filling_sentences, label_hint
from autofuse_jax.choices import AUTO
from autofuse_jax.data.background import choose_background
from autofuse_jax.data.formats import stem_of
from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume, read_image
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, slabs
from autofuse_jax.transforms.lattices import overlap
from autofuse_jax.transforms.maps import Transform
from autofuse_jax.transforms.resampling import covered, moving_positions

LABELS_REMEDY = 'give it to apply_transform --labels afterwards, because --moving-images mixes neighbouring values'


@dataclasses.dataclass(frozen=True)
class Companion:
    """Another image of the moving side that rides along.

    Attributes:
        name: Its part of the file name: `moved_NAME.nii.gz`.
        volume: The image, in the world of the moving image, on any grid.
    """

    name: str
    volume: Volume


def open_companions(paths: Sequence[Path], name: str, moving: ImageGrid) -> list[Companion]:
    """Read images that ride along.

    Args:
        paths: Their files.
        name: Name of the moving image, for messages.
        moving: Its grid.

    Returns:
        The images, in the order of the files.

    Raises:
        UserError: A file cannot be read, or lies where the moving image does not.
    """
    companions = []
    for path in paths:
        volume = read_image(path, allow_missing=True, allow_constant=True)
        if not overlap(volume.grid, moving):
            raise UserError(
                f'{path} does not overlap with the moving image {name}',
                expected='images of the moving side, in the same world as the moving image',
                fix='correct its header, or leave it out',
            )
        companions.append(Companion(stem_of(path), volume))
    return companions


def companion_hints(companions: Sequence[Companion]) -> list[str]:
    """Return a sentence for each image that may be a label map.

    Args:
        companions: The images.
    """
    hints = [label_hint(one.volume.name, one.volume.image, LABELS_REMEDY) for one in companions]
    return [hint for hint in hints if hint]


def move_companion(
    companion: Companion, grid: ImageGrid, transform: Transform, background: float | str = AUTO
) -> tuple[Volume | None, list[str]]:
    """Bring an image that rides along onto a grid.

    Args:
        companion: The image.
        grid: The wanted grid.
        transform: Transform from the world of the grid to that of the image.
        background: Value where the image does not reach, see `choose_background`.

    Returns:
        The moved image, None where nothing of it lies on the grid; and sentences about it.
    """
    volume, shape = companion.volume, companion.volume.grid.shape
    count = 0
    for rows in slabs(grid.shape):
        count += int(covered(shape, moving_positions(transform, grid, volume.affine, rows)).sum())
    if not count:
        return None, [
            f'warning: {volume.name} does not overlap with the result: every voxel falls outside of it, and it is not '
            'written'
        ]
    value = choose_background(volume.image, background)
    outside = 1 - count / math.prod(grid.shape)
    return (
        move_volume(volume, grid, transform, background=value.value),
        filling_sentences(volume.name, volume.image, outside, value),
    )
