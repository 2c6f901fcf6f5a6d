"""Classes and points that guide a registration besides the intensities, in one form for the optimisation."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from autofuse_jax.data.resample import resize_image
from autofuse_jax.errors import UserError
from autofuse_jax.registration.working_grid import on_grid
from autofuse_jax.transforms.grids import ImageGrid, to_voxels
from autofuse_jax.transforms.maps import Transform

BACKGROUND = 0
# Maps of more numbers than this are compared in coarser voxels: a step would wait for them alone.
LARGEST_MAPS = 48_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class ClassMap:
    """Where classes lie in one image, on a grid of its own.

    Attributes:
        values: Integer labels (D, H, W), or float probabilities (D, H, W, C) of `labels`, in [0, 1].
        affine: float64 (4, 4), from voxel indices to RAS millimetres.
        labels: Ids of the classes, without the background 0.
        name: Name in messages.
    """

    values: np.ndarray
    affine: np.ndarray
    labels: tuple[int, ...]
    name: str

    def share_of(self, label: int) -> np.ndarray:
        """Return the share of a class in each voxel, float32 (D, H, W) in [0, 1]."""
        if self.values.ndim == 3:
            return (self.values == label).astype(np.float32)
        return self.values[..., self.labels.index(label)].astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Guide:
    """Classes and points of both images of a pair.

    Attributes:
        fixed: Classes of the fixed image, or None.
        moving: Classes of the moving image, or None.
        fixed_points: float64 (N, 3), RAS millimetres of the fixed world, or None.
        moving_points: float64 (N, 3), their counterparts in the moving world, or None.
        source: Origin in words, for reports.
        aligned: Whether the moving classes lie in the fixed world already, brought there by the alignment.
    """

    fixed: ClassMap | None = None
    moving: ClassMap | None = None
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None
    source: str = ''
    aligned: bool = False

    @property
    def labels(self) -> tuple[int, ...]:
        """Ids of the classes of both images, ascending; empty without classes."""
        if self.fixed is None or self.moving is None:
            return ()
        return tuple(sorted(set(self.fixed.labels) & set(self.moving.labels)))


@dataclasses.dataclass(frozen=True, eq=False)
class GridGuide:
    """A guide on the working grid, as the optimisation takes it.

    Attributes:
        fixed: float32 (D, H, W, C), share of each class in each voxel; None without classes.
        moving: float32 (D, H, W, C), after the alignment.
        fixed_points: float64 (N, 3), as shares of the grid's extent: 0 and 1 are its outer faces. None without points.
        moving_points: float64 (N, 3), likewise, after the alignment.
    """

    fixed: np.ndarray | None = None
    moving: np.ndarray | None = None
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None


def class_map(labels: np.ndarray, affine: np.ndarray, name: str) -> ClassMap:
    """Return a label map as classes.

    Args:
        labels: Integer (D, H, W), 0 for the background.
        affine: (4, 4), from voxel indices to RAS millimetres.
        name: Name in messages.

    Raises:
        UserError: It holds the background only.
    """
    present = tuple(int(label) for label in np.unique(labels) if label != BACKGROUND)
    if not present:
        raise UserError(f'the guide {name} is empty', expected='a label map with at least one class besides 0')
    return ClassMap(labels, np.asarray(affine, np.float64), present, name)


def check_guide(guide: Guide, fixed: ImageGrid, moving: ImageGrid) -> None:
    """Check that a guide belongs to a pair.

    Args:
        guide: The guide.
        fixed: Grid of the fixed image.
        moving: Grid of the moving image.

    Raises:
        UserError: One side is missing, the two have no class in common, a map or all points lie outside their image, or
            there are not as many points on both sides.
    """
    if (guide.fixed is None) != (guide.moving is None):
        side = 'fixed' if guide.moving is None else 'moving'
        raise UserError(f'a guide for the {side} image only', expected='classes of both images')
    if (guide.fixed_points is None) != (guide.moving_points is None):
        raise UserError('guiding points for one image only', expected='points of both images')
    if guide.fixed is not None:
        if not guide.labels:
            raise UserError(
                f'the guides {guide.fixed.name} and {guide.moving.name} have no class in common: '
                f'{_list_text(guide.fixed.labels)} and {_list_text(guide.moving.labels)}',
                expected='the same ids for the same structures',
            )
        worlds = (fixed, fixed if guide.aligned else moving)
        for classes, grid in zip((guide.fixed, guide.moving), worlds, strict=True):
            if not _meets(classes, grid):
                raise UserError(
                    f'the guide {classes.name} lies elsewhere than its image',
                    expected='classes inside the field of view of the image',
                    fix='check that it belongs to this image, and its header',
                )
    if guide.fixed_points is not None:
        counts = len(guide.fixed_points), len(guide.moving_points)
        if counts[0] != counts[1] or not counts[0]:
            raise UserError(
                f'{counts[0]} guiding points in the fixed image, {counts[1]} in the moving one',
                expected='one counterpart for each point, in the same order',
            )
        for points, grid, role in (
            (guide.fixed_points, fixed, 'fixed'),
            (guide.moving_points, moving, 'moving'),
        ):
            if not _inside(to_voxels(grid.affine, points), grid.shape).any():
                raise UserError(
                    f'no guiding point lies inside the {role} image',
                    expected='RAS millimetres of that image',
                    fix='check which image the points belong to, and the signs of x and y (LPS or RAS)',
                )


def guide_on_grid(guide: Guide, grid: ImageGrid, lead: Transform, back: Transform) -> GridGuide:
    """Bring a guide to the working grid.

    Args:
        guide: A checked guide.
        grid: The working grid, in the fixed world.
        lead: Transform before the deformation, from the fixed to the moving world.
        back: Its inverse.

    Returns:
        The guide there; classes are smoothed where the grid's voxels are larger than the map's.
    """
    fixed = moving = fixed_points = moving_points = None
    if guide.labels:
        to_moving: Transform | None = None if guide.aligned else lead
        fixed = _stacked(guide.fixed, guide.labels, grid, None)
        moving = _stacked(guide.moving, guide.labels, grid, to_moving)
    if guide.fixed_points is not None:
        fixed_points = _shares(grid, guide.fixed_points)
        moving_points = _shares(grid, back.map_points(guide.moving_points))
    return GridGuide(fixed, moving, fixed_points, moving_points)


def maps_at(maps: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return class maps on a coarser grid over the same field of view, coarser still where they are many.

    Args:
        maps: float32 (D, H, W, C).
        shape: (d, h, w) of the level.

    Returns:
        float32 (d', h', w', C), with half the voxels along each axis as often as `LARGEST_MAPS` asks for.
    """
    target = tuple(shape)
    while np.prod(target) * maps.shape[-1] > LARGEST_MAPS:
        target = tuple(max(1, size // 2) for size in target)
    if target == maps.shape[:3]:
        return maps
    return np.stack([resize_image(maps[..., index], target) for index in range(maps.shape[-1])], axis=-1)


def _stacked(classes: ClassMap, labels: Sequence[int], grid: ImageGrid, transform: Transform | None) -> np.ndarray:
    shares = [on_grid(classes.share_of(label), classes.affine, grid, transform) for label in labels]
    return np.clip(np.stack(shares, axis=-1), 0.0, 1.0)


def _shares(grid: ImageGrid, points: np.ndarray) -> np.ndarray:
    return (to_voxels(grid.affine, np.asarray(points, np.float64)) + 0.5) / np.asarray(grid.shape)


def _inside(voxels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return np.all((voxels >= -0.5) & (voxels <= np.asarray(shape) - 0.5), axis=-1)


def _meets(classes: ClassMap, grid: ImageGrid) -> bool:
    """Whether any voxel of any class lies inside the field of view of an image."""
    anything = classes.values != BACKGROUND if classes.values.ndim == 3 else classes.values.max(axis=-1) > 0
    places = np.argwhere(anything)
    world = places @ classes.affine[:3, :3].T + classes.affine[:3, 3]
    return bool(_inside(to_voxels(grid.affine, world), grid.shape).any())


def _list_text(labels: Sequence[int]) -> str:
    return ', '.join(str(label) for label in labels)
