"""Random changes of training pairs: the same motion of both frames, a deformation and a change of contrast of each."""

import dataclasses
import functools
import math

import numpy as np
from scipy import ndimage

from autofuse_jax.data.elastic import INJECTIVE_LIMIT, random_elastic_positions
from autofuse_jax.errors import WEIGHT, Range, check_option

Arrays = dict[str, np.ndarray]
Size = tuple[int, int, int]
# In place of the size of a part: the volume as it is.
WHOLE: Size = (0, 0, 0)
ROLES = ('fixed', 'moving')
# Name of the velocity of a pair, where there is one.
TEACHER = 'teacher_velocity'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far training pairs are changed at random; each value is the half width of a uniform distribution.

    Geometry changes in the plane of the first two axes only: stacks of slices have coarse voxels along the third.

    Attributes:
        rotation: Degrees about the third axis; default 0.
        scale: Change of size as a fraction; default 0.
        shift: Fraction of the grid along each of the two axes; default 0.
        gamma: log2 of the exponent applied to intensities in [0, 1], drawn for each frame; default 0.
        elastic: Limit of a smooth deformation, 0 to 0.488, drawn for each frame, see `random_elastic_positions`;
            default 0. The motion between the frames changes with it.

    Raises:
        UserError: A value is negative or not finite, the change of size not less than 1, or the deformation could fold.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    gamma: float = 0.0
    elastic: float = 0.0

    def __post_init__(self):
        domains = {'scale': Range(least=0, below=1), 'elastic': Range(least=0, most=INJECTIVE_LIMIT)}
        for field in dataclasses.fields(self):
            domain = domains.get(field.name, WEIGHT)
            check_option(f'data.augmentation.{field.name}', getattr(self, field.name), domain)

    @property
    def active(self) -> bool:
        """Whether anything changes at all."""
        return any((self.rotation, self.scale, self.shift, self.gamma, self.elastic))


def augment_pair(arrays: Arrays, augmentation: Augmentation, rng: np.random.Generator) -> Arrays:
    """Change one training pair at random.

    Both frames and their labels get the same similarity transform about the centre of the plane, so that the motion
    between them stays a motion of the same kind, and with `elastic` a deformation of their own, so that it becomes
    another one; images are sampled linearly, labels by nearest neighbour, outside is zero. A velocity that belongs to
    the pair is turned and scaled with it; it does not know of `elastic`, and configs with both are refused.

    Args:
        arrays: Arrays of `batches.pair_to_arrays`; of a frame alone, that frame is changed.
        augmentation: Limits of the change.
        rng: Source of the draws.

    Returns:
        The same entries, new arrays.
    """
    result = dict(arrays)
    matrix, offset = _draw_transform(arrays['fixed'].shape[:2], augmentation, rng)
    changes_geometry = any((augmentation.rotation, augmentation.scale, augmentation.shift))
    for role in _roles(arrays):
        image, labels = arrays[role][..., 0], arrays[f'{role}_labels']
        if augmentation.elastic:
            positions = random_elastic_positions(image.shape, augmentation.elastic, rng) @ matrix.T + offset
            image, labels = _sample(image, positions, order=1), _sample(labels, positions, order=0)
        elif changes_geometry:
            image = _transform(image, matrix, offset, order=1)
            labels = _transform(labels, matrix, offset, order=0)
        if augmentation.gamma:
            image = np.clip(image, 0.0, 1.0) ** np.float32(2.0 ** rng.uniform(-augmentation.gamma, augmentation.gamma))
        result |= {role: image[..., None], f'{role}_labels': labels}
    if changes_geometry and TEACHER in arrays:
        result[TEACHER] = _transform_field(arrays[TEACHER], matrix, offset, arrays['fixed'].shape[:2])
    return result


def augment_plane(
    image: np.ndarray, labels: np.ndarray, augmentation: Augmentation, rng: np.random.Generator, size: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Change a plane and those that it is seen with at random, all of them alike, and take a part.

    Args:
        image: float32 (D, H, S) in [0, 1], the plane and others.
        labels: uint8 (D, H), of the plane.
        augmentation: Limits of the change.
        rng: Source of the draws.
        size: Voxels of the part along both axes, where it lies is drawn uniformly; default 0: the whole plane.

    Returns:
        Image (d, h, S) and labels (d, h).
    """
    plane = labels.shape
    matrix, offset = _draw_transform(plane, augmentation, rng)
    positions = np.stack(np.meshgrid(*map(np.arange, plane), indexing='ij'), axis=-1)
    if augmentation.elastic:
        positions = random_elastic_positions((*plane, 1), augmentation.elastic, rng)[:, :, 0]
    if size:
        first = [rng.integers(length - size + 1) for length in plane]
        positions = positions[first[0] : first[0] + size, first[1] : first[1] + size]
    places = np.moveaxis(positions @ matrix.T + offset, -1, 0)
    sample = functools.partial(ndimage.map_coordinates, coordinates=places, mode='constant', cval=0)
    changed = np.stack([sample(image[..., index], order=1) for index in range(image.shape[2])], axis=-1)
    if augmentation.gamma:
        changed = np.clip(changed, 0.0, 1.0) ** np.float32(2.0 ** rng.uniform(-augmentation.gamma, augmentation.gamma))
    return changed, sample(labels, order=0)


def crop_at_random(arrays: Arrays, size: Size, rng: np.random.Generator) -> Arrays:
    """Take a part of one training pair, the same part of both frames and their labels.

    Args:
        arrays: Arrays of `batches.pair_to_arrays`.
        size: (D, H, W) of the part; where it lies is drawn uniformly. 0 along an axis: all of it.
        rng: Source of the draws.

    Returns:
        The same entries, smaller.
    """
    whole = arrays['fixed'].shape[:3]
    part = []
    for length, part_length in zip(whole, size, strict=True):
        first = rng.integers(length - part_length + 1) if part_length else 0
        part.append(slice(first, first + (part_length or length)))
    names = [name for role in _roles(arrays) for name in (role, f'{role}_labels')]
    return arrays | {name: np.ascontiguousarray(arrays[name][tuple(part)]) for name in names}


def _roles(arrays: Arrays) -> list[str]:
    return [role for role in ROLES if role in arrays]


def _draw_transform(
    plane: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the map from output to input positions in the plane: x_in = matrix x_out + offset."""
    angle = math.radians(rng.uniform(-augmentation.rotation, augmentation.rotation))
    factor = 1.0 / (1.0 + rng.uniform(-augmentation.scale, augmentation.scale))
    shift = rng.uniform(-augmentation.shift, augmentation.shift, 2) * plane
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix = factor * np.array([[cosine, -sine], [sine, cosine]])
    centre = (np.asarray(plane) - 1) / 2
    return matrix, centre - matrix @ (centre + shift)


def _transform_field(field: np.ndarray, matrix: np.ndarray, offset: np.ndarray, plane: tuple[int, int]) -> np.ndarray:
    """Transform a field (d, h, w, 3), in voxels of its own grid over the field of view of the plane.

    `u'(x) = M^-1 u(M x + o)`, M and o in voxels of the plane turned into those of the field: `x = s (X + 1/2) - 1/2`.
    """
    size = np.asarray(plane) / field.shape[:2]
    own = matrix * size[None, :] / size[:, None]
    own_offset = (matrix @ ((size - 1) / 2) + offset + 0.5) / size - 0.5
    result = np.stack([_transform(field[..., axis], own, own_offset, order=1) for axis in range(3)], axis=-1)
    result[..., :2] = result[..., :2] @ np.linalg.inv(own).T
    return result.astype(np.float32)


def _transform(volume: np.ndarray, matrix: np.ndarray, offset: np.ndarray, order: int) -> np.ndarray:
    """Transform each slice of a (D, H, W) volume; one slice at a time, because the third axis does not mix."""
    slices = [
        ndimage.affine_transform(volume[..., index], matrix, offset, order=order, mode='constant', cval=0)
        for index in range(volume.shape[2])
    ]
    return np.stack(slices, axis=-1)


def _sample(volume: np.ndarray, positions: np.ndarray, order: int) -> np.ndarray:
    """Sample each slice of a (D, H, W) volume at positions (D, H, W, 2) in its plane."""
    slices = [
        ndimage.map_coordinates(
            volume[..., index], np.moveaxis(positions[:, :, index], -1, 0), order=order, mode='constant', cval=0
        )
        for index in range(volume.shape[2])
    ]
    return np.stack(slices, axis=-1)
