"""Which structures of a guide are those that are scored: compared in the world, whatever their ids and grids."""

from typing import NamedTuple

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.registration.guide import BACKGROUND, ClassMap, Guide
from autofuse_jax.transforms.grids import ImageGrid, slabs
from autofuse_jax.transforms.resampling import moving_positions, sample_labels

# DSC above which two structures of one image are the same. Of hearts segmented by hand and by a network, single
# structures reach 0.975 and the whole heart 0.981; of label maps that were brought to a turned, finer or coarser grid
# by nearest neighbour, the structure that is kept best stays at 0.989 or more.
SAME_STRUCTURE = 0.985
# A structure belongs to another if more than this share of it lies inside.
MOSTLY = 0.5


class Match(NamedTuple):
    """Structures of one map that together are one structure of another.

    Attributes:
        whole: Id of the one structure.
        parts: Ids of the others, ascending.
        overlap: DSC of the two, 0 .. 1.
    """

    whole: int
    parts: tuple[int, ...]
    overlap: float

    @property
    def parts_text(self) -> str:
        """The ids of the parts in words."""
        return ', '.join(map(str, self.parts))


def check_not_scored(guide: Guide, fixed: Volume, moving: Volume) -> None:
    """Check that no structure guides a registration and is scored, too: its score would say nothing.

    Args:
        guide: The guide.
        fixed: The fixed volume, with the labels that are scored or without.
        moving: The moving volume, likewise.

    Raises:
        UserError: A structure of the guide, or several together, are one of the scored labels: their DSC in the world
            is above `SAME_STRUCTURE`.
    """
    for classes, volume in _sides(guide, fixed, moving):
        for match in (match for table in _tables(classes, volume) for match in matches(table)):
            structures = f'structure {match.parts[0]}' if len(match.parts) == 1 else f'structures {match.parts_text}'
            verb = 'is' if len(match.parts) == 1 else 'are together'
            raise UserError(
                f'{structures} of the guide {classes.name} {verb} structure {match.whole} of the labels that are '
                f'scored on {volume.name} (DSC {100 * match.overlap:.1f} %)',
                expected='scores of labels that the registration has not seen',
                fix='leave out the guide or the labels',
            )


def seen_structures(guide: Guide, fixed: Volume, moving: Volume) -> list[Match]:
    """Return the classes of a guide that are scored structures, in particular several in one: it has seen their outer
    surface.

    Args:
        guide: The guide.
        fixed: The fixed volume, with the labels that are scored or without.
        moving: The moving volume, likewise.

    Returns:
        The class as `whole` and the scored structures as `parts`, each pair once, with the larger DSC of both images.
    """
    found: dict[tuple[int, tuple[int, ...]], Match] = {}
    for classes, volume in _sides(guide, fixed, moving):
        for table in _tables(classes, volume):
            for match in matches({(scored, guiding): count for (guiding, scored), count in table.items()}):
                key = match.whole, match.parts
                found[key] = max(found.get(key, match), match)
    return sorted(found.values())


def matches(table: dict[tuple[int, int], int]) -> list[Match]:
    """Return which structures of a second map are structures of a first one, alone or several together.

    Those that lie mostly inside of it are put together; DSC = 2 |A and B| / (|A| + |B|).

    Args:
        table: Ids (of the first map, of the second) to number of voxels, background included.

    Returns:
        One match for every structure of the second map with a DSC above `SAME_STRUCTURE`, in the order of their ids.
    """
    first, second = (sorted({pair[side] for pair in table} - {BACKGROUND}) for side in (0, 1))
    sizes = {own: sum(count for pair, count in table.items() if pair[0] == own) for own in first}
    found = []
    for whole in second:
        size = sum(count for pair, count in table.items() if pair[1] == whole)
        parts = tuple(own for own in first if table.get((own, whole), 0) > MOSTLY * sizes[own])
        common = sum(table[own, whole] for own in parts)
        overlap = 2 * common / (size + sum(sizes[own] for own in parts))
        if overlap > SAME_STRUCTURE:
            found.append(Match(whole, parts, overlap))
    return found


def _sides(guide: Guide, fixed: Volume, moving: Volume) -> list[tuple[ClassMap, Volume]]:
    """What is to be compared: classes in the world of an image with labels."""
    sides = [(guide.fixed, fixed), *([] if guide.aligned else [(guide.moving, moving)])]
    return [(classes, volume) for classes, volume in sides if classes is not None and volume.labels is not None]


def _tables(classes: ClassMap, volume: Volume) -> list[dict[tuple[int, int], int]]:
    """Voxels by class and scored label, counted on the grid of the image and on that of the classes: on the coarser of
    the two, what was taken from the finer one is the same."""
    guiding = _hard_classes(classes)
    there = _common_voxels(guiding, ImageGrid(guiding.shape, classes.affine), volume.labels, volume.grid)
    back = _common_voxels(volume.labels, volume.grid, guiding, ImageGrid(guiding.shape, classes.affine))
    return [there, {(guide, scored): count for (scored, guide), count in back.items()}]


def _common_voxels(
    first: np.ndarray, first_grid: ImageGrid, second: np.ndarray, grid: ImageGrid
) -> dict[tuple[int, int], int]:
    """Count the voxels of the second label map by the id of the nearest voxel of the first, and by their own."""
    table: dict[tuple[int, int], int] = {}
    for rows in slabs(grid.shape):
        nearest = sample_labels(first, moving_positions(None, grid, first_grid.affine, rows))
        # Both ids in one number, which sorts faster than pairs.
        joined = nearest.astype(np.int64) * 2**32 + second[rows].astype(np.int64)
        for pair, count in zip(*np.unique(joined, return_counts=True), strict=True):
            own = int((pair + 2**31) % 2**32 - 2**31)
            key = int(pair - own) // 2**32, own
            table[key] = table.get(key, 0) + int(count)
    return table


def _hard_classes(classes: ClassMap) -> np.ndarray:
    """The class with more than half of each voxel, int32 (D, H, W), otherwise the background."""
    if classes.values.ndim == 3:
        return np.asarray(classes.values, np.int32)
    ids = np.asarray(classes.labels, np.int32)[classes.values.argmax(axis=-1)]
    return np.where(classes.values.max(axis=-1) > MOSTLY, ids, np.int32(BACKGROUND))
