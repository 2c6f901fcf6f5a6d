"""The images of the cases: heads and hearts, and what a clinic may do to them."""

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from autofuse_jax.data.resample import resize_image, resize_labels
from autofuse_jax.data.volumes import Volume, read_image, read_labels
from autofuse_jax.preparation.splits import read_splits
from autofuse_jax.transforms.grids import resize_grid

# Voxels of the heads: a case takes half a minute instead of ten.
HEAD_MM = 3.0
HEAD_LABELS = 'labels35_map.json'
HEART_STRUCTURES = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class Images:
    """Heads and hearts of validation subjects.

    Attributes:
        root: Folder with `malc2012`, `acdc`, `splits.json` and the map of labels.
    """

    root: Path

    def head(self, number: int) -> Volume:
        """Return a head at 3 mm with its structures, by its place among the validation subjects."""
        merged = self._merged()
        name = read_splits_of(self.root, 'malc2012')[number]
        image = read_image(self.root / 'malc2012' / name / 't1.nii.gz')
        labels, _ = read_labels(self.root / 'malc2012' / name / 'seg.nii.gz')
        table = np.zeros(max(max(merged), labels.max()) + 1, np.int32)
        table[list(merged)] = list(merged.values())
        shape = [round(size * step / HEAD_MM) for size, step in zip(image.image.shape, image.spacing, strict=True)]
        grid = resize_grid(image.grid, shape)
        return Volume(resize_image(image.image, shape), resize_labels(table[labels], shape), grid.affine, name)

    def head_structures(self) -> tuple[int, ...]:
        """Return the ids of the merged structures of a head."""
        return tuple(sorted(set(self._merged().values()) - {0}))

    def heart(self, number: int, phase: str) -> Volume:
        """Return a frame of a heart as it was scanned, 'ED' or 'ES', by its place among the validation subjects."""
        folder = self.root / 'acdc' / read_splits_of(self.root, 'acdc')[number]
        image = read_image(folder / f'image_{phase}.nii.gz')
        labels, _ = read_labels(folder / f'seg_{phase}.nii.gz')
        return dataclasses.replace(image, labels=labels, name=f'{folder.name} {phase}')

    def _merged(self) -> dict[int, int]:
        content = json.loads((self.root / HEAD_LABELS).read_text(encoding='utf-8'))
        return {int(label): int(merged) for label, merged in content['neuromorphometrics_to_35'].items()}


def read_splits_of(root: Path, data_set: str) -> list[str]:
    """Return the validation subjects of a data set, in the order of the file."""
    split_of = read_splits(root / 'splits.json', data_set)
    return [subject for subject, part in split_of.items() if part == 'validation']


def slab(volume: Volume, axis: int, first: float, last: float) -> Volume:
    """Cut a part out of an image between two shares of its extent along an axis."""
    size = volume.image.shape[axis]
    index = [slice(None)] * 3
    index[axis] = slice(int(size * first), int(size * last))
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, axis] * int(size * first)
    labels = None if volume.labels is None else volume.labels[tuple(index)]
    return Volume(volume.image[tuple(index)], labels, affine, f'{volume.name}, a part along axis {axis}')


def middle_slice(volume: Volume) -> Volume:
    """Cut the middle slice out of a stack, as a file of one slice."""
    middle = volume.image.shape[2] // 2
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * middle
    image, labels = (array[:, :, middle : middle + 1] for array in (volume.image, volume.labels))
    return Volume(image, labels, affine, f'{volume.name}, slice {middle}')


def resized(volume: Volume, factor: float) -> Volume:
    """Make everything so many times as large: the same voxels, other millimetres."""
    return dataclasses.replace(volume, affine=np.diag([factor, factor, factor, 1.0]) @ volume.affine)


def turned(volume: Volume, matrix: np.ndarray) -> Volume:
    """Turn or mirror the header of an image about its middle; the voxels stay what they are."""
    centre = volume.grid.centre_mm
    turn = np.eye(4)
    turn[:3, :3] = matrix
    turn[:3, 3] = centre - matrix @ centre
    return dataclasses.replace(volume, affine=turn @ volume.affine)


def reordered(volume: Volume, codes: str) -> Volume:
    """Store the same voxels at the same places in another order of the axes, such as 'PIR'."""
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    image, labels = (np.ascontiguousarray(nib.apply_orientation(a, turn)) for a in (volume.image, volume.labels))
    return Volume(image, labels, volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.image.shape), codes)


def sheared(volume: Volume, degrees: float) -> Volume:
    """Sample an image on a grid whose slices are tilted, as by the gantry of a CT: the same world, other axes."""
    shear = np.eye(4)
    tangent = np.tan(np.radians(degrees))
    shear[1, 2] = tangent * volume.spacing[2] / volume.spacing[1]
    shear[1, 3] = -tangent * volume.spacing[2] / volume.spacing[1] * (volume.image.shape[2] - 1) / 2
    places = np.moveaxis(np.stack(np.meshgrid(*map(np.arange, volume.image.shape), indexing='ij'), -1), -1, 0)
    voxels = np.einsum('ij,j...->i...', shear[:3, :3], places) + shear[:3, 3].reshape(3, 1, 1, 1)
    image = ndimage.map_coordinates(volume.image, voxels, order=1, mode='grid-constant')
    labels = ndimage.map_coordinates(volume.labels, voxels, order=0, mode='constant')
    return Volume(image.astype(np.float32), labels, volume.affine @ shear, f'{volume.name}, tilted')


def grey_values(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return the grey values scaled to about 0 .. 1 and where the image shows anything."""
    shown = volume.image > 0.02 * volume.image.max()
    return np.clip(volume.image / np.percentile(volume.image[shown], 99.5), 0, 1.2), shown


def in_other_contrast(volume: Volume, contrast: str) -> Volume:
    """Show an image as another scanner would, by a map of its grey values, noise and a bias field.

    Args:
        volume: A head.
        contrast: 'inverted' within the head, 'negative' of the whole picture, 'not monotonic', 'T2-like', 'CT-like'
            (bone bright, soft tissue nearly flat) or 'ultrasound-like' (edges in speckle).

    Returns:
        The image in that contrast.

    Raises:
        KeyError: The contrast is unknown.
    """
    grey, shown = grey_values(volume)
    random = np.random.default_rng(0)
    edges = ndimage.gaussian_gradient_magnitude(grey, 1.0)
    speckle = random.rayleigh(1.0, grey.shape)
    axes = [np.linspace(-1, 1, size) for size in grey.shape]
    bias = 1 + 0.3 * axes[0][:, None, None] * axes[1][None, :, None]
    images = {
        'inverted': np.where(shown, 1.2 - grey, 0),
        'negative': 1.2 - grey,
        'not monotonic': np.where(shown, 1.5 * np.abs(grey - 0.55) + 0.2, 0),
        'T2-like': np.where(shown, (np.exp(-3 * grey) + 0.1) * bias, 0) + 0.02 * random.normal(size=grey.shape),
        'CT-like': np.where(shown, 0.45 + 0.1 * grey, 0) + 0.01 * random.normal(size=grey.shape),
        'ultrasound-like': np.where(shown, (0.15 + 2 * edges) * speckle, 0),
    }
    return dataclasses.replace(volume, image=(1000 * images[contrast]).astype(np.float32))
