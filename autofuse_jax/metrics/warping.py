"""Warping volumes on the host with NumPy and SciPy, for reports and as an independent check of the device code.

Both functions pull: warped(x) = moving(x + u(x)), with u in voxels and zero outside the moving volume.
"""

import numpy as np
from scipy import ndimage

from autofuse_jax.transforms.resampling import sample_labels


def warp_labels(labels: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Warp an integer label map with nearest sampling; coordinates are rounded half to even.

    Args:
        labels: Moving label map, (D, H, W).
        displacement: (D', H', W', 3) on the fixed grid, in voxels, last axis along (D, H, W).

    Returns:
        Warped label map, (D', H', W'), of the type of `labels`; 0 (background) where x + u(x) leaves the volume or
        is not a number.

    Raises:
        ValueError: The arrays do not have these shapes.

    Example:
        >>> labels = np.array([0, 1, 2, 3]).reshape(4, 1, 1)
        >>> one_voxel = np.zeros((4, 1, 1, 3))
        >>> one_voxel[..., 0] = 1
        >>> warp_labels(labels, one_voxel).ravel().tolist()
        [1, 2, 3, 0]
    """
    labels = np.asarray(labels)
    return sample_labels(labels, _positions(labels, displacement))


def warp_image(image: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Warp an image with trilinear sampling; each of the eight neighbours outside the volume counts as 0.

    Args:
        image: Moving image, (D, H, W).
        displacement: (D', H', W', 3) on the fixed grid, in voxels, last axis along (D, H, W).

    Returns:
        Warped image, (D', H', W'), float64.

    Raises:
        ValueError: The arrays do not have these shapes.

    Example:
        >>> image = np.array([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1)
        >>> half_a_voxel = np.zeros((4, 1, 1, 3))
        >>> half_a_voxel[..., 0] = 0.5
        >>> warp_image(image, half_a_voxel).ravel().tolist()
        [0.5, 1.5, 2.5, 1.5]
    """
    image = np.asarray(image)
    positions = _positions(image, displacement)
    # 'grid-constant' blends with zeros across the border; plain 'constant' would cut off at the outermost centres.
    return ndimage.map_coordinates(image.astype(np.float64), positions, order=1, mode='grid-constant', cval=0.0)


def _positions(volume: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Sampling positions x + u(x) as (3, D', H', W'), float64."""
    displacement = np.asarray(displacement, np.float64)
    if volume.ndim != 3 or displacement.ndim != 4 or displacement.shape[-1] != 3:
        raise ValueError(
            f'volume {volume.shape} and displacement {displacement.shape} must be (D, H, W) and (D, H, W, 3)'
        )
    return np.indices(displacement.shape[:3], np.float64) + np.moveaxis(displacement, -1, 0)
