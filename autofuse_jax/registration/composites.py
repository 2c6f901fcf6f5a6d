"""The parts of a registration as composite transforms of ITK, one `.h5` for each direction."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, Transform, to_dense
from autofuse_jax.transforms_io.conventions import ITK
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.sidecar import FORWARD, INVERSE, ImageRecord, TransformInfo

COMPOSITE, INVERSE_COMPOSITE = COMPOSITES = ('composite_itk.h5', 'inverse_composite_itk.h5')


def storable_chain(chain: Chain, grid: ImageGrid) -> Chain:
    """Return a chain as a file can hold it: its matrices and fields one by one.

    Args:
        chain: Transforms in the order in which an image passes through them.
        grid: Grid of the last one's fixed image.

    Returns:
        The same parts, nested chains dissolved; one field on the grid where a part is solved for point by point, as the
        inverse of a given deformation is.
    """
    parts = _parts(chain)
    if all(isinstance(part, AffineTransform | DenseTransform) for part in parts):
        return Chain(parts)
    return Chain((to_dense(parts, grid),))


def write_composites(folder: Path, result: RegistrationResult, about: Mapping[str, Any]) -> None:
    """Write both directions, each with its sidecar.

    Args:
        folder: Folder of the results.
        result: The registration.
        about: Settings and versions for the sidecars.

    Raises:
        UserError: The package h5py is missing.
        OSError: A file cannot be written.
    """
    fixed, moving = (ImageRecord.of(volume) for volume in (result.fixed, result.moving))
    for name, other, role, chain, ends in (
        (COMPOSITE, INVERSE_COMPOSITE, FORWARD, result.chain, (fixed, moving)),
        (INVERSE_COMPOSITE, COMPOSITE, INVERSE, result.inverse_chain, (moving, fixed)),
    ):
        info = TransformInfo(role=role, fixed=ends[0], moving=ends[1], inverse=other, **about)
        write_transform(folder / name, storable_chain(chain, ends[0].grid), ITK, info)


def _parts(transform: Transform) -> tuple[Transform, ...]:
    if not isinstance(transform, Chain):
        return (transform,)
    return tuple(part for inner in transform.transforms for part in _parts(inner))
