"""Grids, fields and images that tests of transforms share: small, smooth, and awkward where data is awkward."""

import numpy as np

from autofuse_jax.transforms.grids import ImageGrid, grid_points, to_voxels, voxel_indices
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform, to_dense
from autofuse_jax.transforms_io.sidecar import ImageRecord


def turned(degrees, axis):
    """Rotation about a world axis, (4, 4)."""
    angle = np.deg2rad(degrees)
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(4)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    return matrix


def grid(shape, spacing, *, flip=(1, 1, 1), turn=None, centre=(3.0, -7.0, 11.0), order=(0, 1, 2)):
    """A grid around a point: voxel size, directions of the axes, a rotation, an order of the axes in the world."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag([size * sign for size, sign in zip(spacing, flip, strict=True)])[:, list(order)]
    if turn is not None:
        affine = turn @ affine
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return ImageGrid(tuple(shape), affine)


OBLIQUE = turned(17, 0) @ turned(-11, 2) @ turned(8, 1)
# Name to (fixed, moving): every pair differs in size, voxel size, orientation or position.
PAIRS = {
    'isotropic': (grid((24, 22, 20), (2, 2, 2)), grid((26, 24, 25), (1.8, 1.8, 1.8), flip=(-1, 1, 1))),
    'anisotropic': (
        grid((28, 26, 9), (1.5, 1.5, 6), flip=(-1, -1, 1)),
        grid((12, 29, 30), (1.6, 5, 1.9), centre=(2, -5, 9), order=(1, 2, 0)),
    ),
    'oblique': (
        grid((27, 24, 9), (1.25, 1.4, 5), turn=OBLIQUE),
        grid((24, 26, 22), (1.7, 1.5, 2), flip=(1, -1, 1), turn=OBLIQUE.T, centre=(4, -8, 12)),
    ),
}


def smooth(fixed, size=2.5):
    """A displacement on a grid that bends space by about `size` millimetres, without folds."""
    points = grid_points(fixed) - fixed.centre_mm
    length = np.linalg.norm(points, axis=-1).max() / 2
    shift = size * np.stack([np.sin(points[..., (k + 1) % 3] / length + k) for k in range(3)], axis=-1)
    moved = to_voxels(fixed.affine, grid_points(fixed) + shift)
    return DenseTransform((moved - voxel_indices(fixed.shape)).astype(np.float32), fixed.affine)


def affine(shift=(1.5, -2, 1), degrees=6.0, scale=1.05, centre=(3.0, -7.0, 11.0)):
    """An affine transform: a turn, a scaling and a shift about a point."""
    matrix = turned(degrees, 2) @ turned(-degrees / 2, 0) @ np.diag([scale, 1 / scale, 1.02, 1])
    matrix[:3, 3] = np.asarray(centre) + shift - matrix[:3, :3] @ np.asarray(centre)
    return AffineTransform(matrix)


def both(fixed):
    """A forward transform as a registration saves it: affine and deformation in one field."""
    # An image goes through the affine first, so points of the fixed image go through the deformation first.
    return to_dense([affine(), smooth(fixed)], fixed)


def image(on):
    """A textured image on a grid, float32, from 0 at the border to 1 inside."""
    points = grid_points(on) - on.centre_mm
    waves = np.cos(points[..., 0] / 4) * np.cos(points[..., 1] / 5) * np.cos(points[..., 2] / 6)
    return (0.5 + 0.4 * waves + 0.05 * points[..., 0] / np.abs(points).max()).astype(np.float32)


def labels(on):
    """A label map on a grid: shells 1 to 3 around the middle."""
    radius = np.linalg.norm(grid_points(on) - on.centre_mm, axis=-1)
    return (np.digitize(radius, [6, 10, 14])[..., None] == [2, 1, 0]).astype(np.int32) @ np.array([1, 2, 3], np.int32)


def record(on, name):
    """The record of an image on a grid."""
    return ImageRecord(name, on)


def inner_points(fixed, count=20):
    """World points well inside a grid, (count, 3)."""
    shares = np.random.default_rng(3).uniform(0.25, 0.75, (count, 3))
    return (shares * (np.asarray(fixed.shape) - 1)) @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
