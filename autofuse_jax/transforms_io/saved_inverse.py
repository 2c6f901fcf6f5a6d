"""The inverse that was saved beside a transform: whether it belongs to it, told by its grid and by its numbers."""

import dataclasses
from pathlib import Path

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.grids import to_voxels
from autofuse_jax.transforms.lattices import lattice_points
from autofuse_jax.transforms.maps import DenseTransform, Transform
from autofuse_jax.transforms_io.files import read_transform
from autofuse_jax.transforms_io.sidecar import TransformInfo

# Points along each axis that are sent there and back.
POINTS_ALONG = 10
# Of points whose images stay among the voxels of the saved inverse, those of registered hearts, brains and hippocampi
# miss up to 1.5 % by more than a voxel, that of a field with many folds 10 %; inverses of another registration of the
# same pair with other settings, or of the way back, miss 30 to 70 %.
MISSED_VOXELS = 1.0
TOLERATED_SHARE = 0.2
COPY_AGAIN = 'copy both files of the same registration again, or move the inverse away to have it solved for'


@dataclasses.dataclass(frozen=True, eq=False)
class SavedInverse:
    """An inverse that a sidecar names and that lies on the right grid.

    Attributes:
        path: Its file.
        transform: Map from the moving to the fixed world.
        missed: Share of points that it misses by more than `MISSED_VOXELS`, see `missed_share`.
    """

    path: Path
    transform: Transform
    missed: float

    @property
    def fits(self) -> bool:
        """Whether its numbers are those of an inverse."""
        return self.missed <= TOLERATED_SHARE

    def check(self, path: Path) -> None:
        """Check that it is the inverse of a transform, whose file is `path`.

        Raises:
            UserError: It is not.
        """
        if not self.fits:
            raise UserError(
                f'{self.path} is no inverse of {path}: of points that go there and back {100 * self.missed:.0f} % end '
                'more than a voxel away',
                fix=COPY_AGAIN,
            )


def open_saved_inverse(path: Path, transform: DenseTransform, info: TransformInfo) -> SavedInverse | None:
    """Read the inverse that a sidecar names.

    Args:
        path: The file of the transform.
        transform: The transform.
        info: Its sidecar.

    Returns:
        The inverse; None where none is named or the file is not there.

    Raises:
        UserError: It cannot be read, or lies on another grid than that of the moving image.
    """
    if info.inverse is None or not (path.parent / info.inverse).is_file():
        return None
    partner_path, moving = path.parent / info.inverse, info.moving
    partner, partner_info = read_transform(partner_path)
    fixed = partner_info.fixed
    if moving is not None and fixed is not None and not moving.grid.same_as(fixed.grid):
        here, there, _ = describe_difference(fixed.grid, moving.grid)
        raise UserError(
            f'{partner_path} is no inverse of {path}: it lies on the grid of {fixed.file} ({here}), the moving image '
            f'of {path.name} is {moving.file} ({there})',
            fix=COPY_AGAIN,
        )
    return SavedInverse(partner_path, partner, missed_share(transform, partner))


def missed_share(transform: DenseTransform, inverse: Transform) -> float:
    """Return the share of points that do not come back: `|A^-1 S(T(p)) - A^-1 p| > MISSED_VOXELS`.

    Args:
        transform: T, known on a grid with the affine A, over which points p are spread.
        inverse: S. Of a field, only points count whose images lie among its voxel centres: beyond them it is a guess.

    Returns:
        0 to 1; 0 where no point counts.
    """
    points = lattice_points(transform.grid, POINTS_ALONG)
    images = transform.map_points(points)
    known = inverse.covers(images) if isinstance(inverse, DenseTransform) else np.ones(len(points), bool)
    if not known.any():
        return 0.0
    back = to_voxels(transform.affine, inverse.map_points(images[known]))
    away = np.linalg.norm(back - to_voxels(transform.affine, points[known]), axis=-1)
    return float((away > MISSED_VOXELS).mean())
