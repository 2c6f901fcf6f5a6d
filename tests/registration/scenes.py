"""Images of a scene that is known everywhere in space, so that a moving image can be made for any map and grid."""

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.transforms.grids import ImageGrid, grid_points, to_world

# Centre and radii of ellipsoids in millimetres, brightness, label.
ELLIPSOIDS = (
    ((0.0, 0.0, 0.0), (34.0, 40.0, 30.0), 0.5, 1),
    ((-10.0, 8.0, 4.0), (10.0, 14.0, 9.0), 0.9, 2),
    ((13.0, -12.0, -6.0), (8.0, 9.0, 11.0), 0.2, 3),
)
EDGE_MM = 3.0
# With texture: waves inside the body, without which local correlation has nothing to hold on to there, and no faint
# ends of the edges, which would correlate as well as the edges themselves.
WAVE_MM, WAVE_BRIGHTNESS = 5.0, 0.12
FAINT = 0.1


def scene(points: np.ndarray, texture: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return brightness and label of world points (..., 3)."""
    image, labels = np.zeros(points.shape[:-1]), np.zeros(points.shape[:-1], np.int32)
    for centre, radii, brightness, label in ELLIPSOIDS:
        distance = (np.linalg.norm((points - centre) / np.asarray(radii), axis=-1) - 1) * min(radii)
        share = 1 / (1 + np.exp(np.clip(distance / EDGE_MM * 2, -50, 50)))
        if texture:
            share = np.where(share < FAINT, 0.0, share)
        image = image * (1 - share) + brightness * share
        labels[distance < 0] = label
    if texture:
        image += np.where(image > 0, WAVE_BRIGHTNESS * np.sin(points / WAVE_MM).sum(axis=-1), 0.0)
    return image, labels


def picture(grid: ImageGrid, to_scene=lambda points: points, name: str = 'scene', texture: bool = False) -> Volume:
    """Photograph the scene on a grid; `to_scene` takes the grid's world to that of the scene."""
    image, labels = scene(to_scene(grid_points(grid)), texture)
    return Volume((100 * image).astype(np.float32), labels, grid.affine, name)


def centred_grid(shape, spacing, turn: float = 0.0, axes: str = 'RAS') -> ImageGrid:
    """Return a grid around the world's origin, turned about the third axis by degrees; axes may be 'LPS', too."""
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    signs = np.where([letter in 'RAS' for letter in axes], 1.0, -1.0)
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(signs * np.asarray(spacing, float))
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return ImageGrid(tuple(shape), affine)


def rotation_and_shift(degrees: float, shift) -> np.ndarray:
    """Return the (4, 4) matrix of a rotation about the third axis and a shift in millimetres."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    return matrix


def bulge(points: np.ndarray) -> np.ndarray:
    """A smooth deformation of up to 5 mm that folds nowhere: its gradient is at most 5 * 0.86 / 20."""
    weight = np.exp(-(np.linalg.norm(points - [-10.0, 8.0, 4.0], axis=-1) ** 2) / (2 * 20.0**2))
    return points + np.asarray([4.0, -3.0, 0.0]) * weight[..., None]


def world_difference(transform, matrix: np.ndarray, grid: ImageGrid) -> float:
    """Return the largest distance in millimetres between a transform and a matrix over the middle half of a grid."""
    corners = np.array(np.meshgrid(*[(size * 0.25, size * 0.75) for size in grid.shape])).reshape(3, -1).T
    points = to_world(grid.affine, corners)
    return float(np.linalg.norm(transform.map_points(points) - to_world(matrix, points), axis=-1).max())
