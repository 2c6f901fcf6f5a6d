"""How far a deformation may be from the one that was found: its spread over restarts or over draws of a network."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import ndimage

from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.resampling import moving_positions

# What the starts of restarts differ by: standard deviation in voxels of the working grid, as far as a search of this
# kind corrects well, and the voxels over which neighbours move together.
START_DEVIATION = 2.0
START_COARSENESS = 8
# Fewer voxels along an axis of the starts' grid leave nothing to differ.
SMALLEST_SIDE = 2
SEED = 2023


def random_starts(shape: Sequence[int], count: int) -> Iterator[np.ndarray]:
    """Yield smooth random velocity fields to start from, the same ones every time.

    Args:
        shape: (D, H, W) of the working grid.
        count: Number of fields.

    Yields:
        float32 (d, h, w, 3), in voxels of a grid of a coarser shape over the same field of view; each component
        has mean 0 and a standard deviation of 2 voxels of the working grid.
    """
    coarse = tuple(max(size // START_COARSENESS, min(size, SMALLEST_SIDE)) for size in shape)
    voxels = np.asarray(coarse) / np.asarray(shape)
    for number in range(count):
        noise = np.random.default_rng([SEED, number]).normal(size=(*coarse, 3))
        smooth = ndimage.gaussian_filter(noise, (1, 1, 1, 0), mode='nearest')
        smooth -= smooth.mean(axis=(0, 1, 2))
        deviation = smooth.std(axis=(0, 1, 2))
        yield (START_DEVIATION * voxels * smooth / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def spread_mm(displacement: np.ndarray, others: Iterable[np.ndarray], affine: np.ndarray) -> np.ndarray:
    """Return how far other displacements are from one: `sqrt(mean_k |u_k(x) - u(x)|^2)`.

    Args:
        displacement: (D, H, W, 3), in voxels.
        others: One or more like it.
        affine: (4, 4) of their grid, from voxel indices to millimetres.

    Returns:
        float32 (D, H, W), millimetres.
    """
    total, count = np.zeros(displacement.shape[:3]), 0
    for other in others:
        apart = (other - displacement) @ affine[:3, :3].T
        total += np.square(apart).sum(axis=-1)
        count += 1
    return np.sqrt(total / count).astype(np.float32)


def on_image_grid(spread: np.ndarray, affine: np.ndarray, grid: ImageGrid) -> np.ndarray:
    """Bring a spread to the grid of an image, linearly; beyond its own grid it is that of the nearest voxel.

    Args:
        spread: (D, H, W).
        affine: Its affine (4, 4).
        grid: The wanted grid.

    Returns:
        float32 of the grid's shape.
    """
    positions = moving_positions(None, grid, affine)
    return ndimage.map_coordinates(spread, positions, output=np.float32, order=1, mode='nearest')


def spread_record(
    spread: np.ndarray, samples: int, source: str, mask: np.ndarray | None
) -> dict[str, float | int | str]:
    """Return a spread in numbers.

    Args:
        spread: (D, H, W), millimetres.
        samples: Number of samples.
        source: Origin of the samples in words.
        mask: (D, H, W), not zero where voxels count; None: all do.

    Returns:
        'samples', 'source', and over the voxels that count 'mean_mm', 'p95_mm', 'max_mm'.
    """
    values = spread if mask is None else spread[mask > 0]
    return {
        'samples': samples,
        'source': source,
        'mean_mm': float(values.mean()),
        'p95_mm': float(np.percentile(values, 95)),
        'max_mm': float(values.max()),
    }


def spread_sentence(record: dict[str, float | int | str]) -> str:
    """Return the line of a report on a record of `spread_record`."""
    return (
        f'Spread of the deformation over {record["samples"]} {record["source"]}: {record["mean_mm"]:.2f} mm on '
        f'average, {record["p95_mm"]:.2f} mm at the 95th percentile (spread_mm.nii.gz).'
    )
