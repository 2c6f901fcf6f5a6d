"""Good files of every kind that is no JSON, and how each is read: images, transforms, weights, tables."""

import csv
import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from autofuse_jax.data.pair_table import read_pair_table
from autofuse_jax.data.volumes import read_image, write_image
from autofuse_jax.preparation.acdc import find_acdc
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.points import read_points
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo
from autofuse_jax.weights.released import Description, read_released, write_released
from tests.data.dicom_slices import write_slices
from tests.preparation.acdc_trees import make_flat
from tests.reliability.campaign.text_kinds import ITK_KINDS, text_of
from tests.transforms_io.foreign import write_matlab

AFFINE = np.diag([2.0, 1.5, 3.0, 1.0])
SHAPE = (9, 8, 7)
IMAGE = ImageRecord('a.nii.gz', ImageGrid(SHAPE, AFFINE))
# A file, and a function that reads it and returns its values.
Made = tuple[Path, Callable[[Path], Any]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        make: Function that makes a good file in a folder and says how it is read.
        needs: Package without which it cannot be tried; default none.
        words: Whether the file is text, whose words may be damaged, too.
        sealed: Function that returns the first byte that a checksum in the file protects; None: it has none.
    """

    make: Callable[[Path], Made]
    needs: str = ''
    words: bool = False
    sealed: Callable[[bytes], int] | None = None

    @property
    def missing(self) -> bool:
        """Whether a package that it needs is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


def whole_file(content: bytes) -> int:
    """A checksum protects all of a file, or what it does not protect has no values."""
    del content
    return 0


def behind_header(content: bytes) -> int:
    """A checksum protects what comes behind the text of a header of ITK."""
    if content.startswith(b'NRRD'):
        return content.index(b'\n\n') + 2
    return content.index(b'\n', content.index(b'ElementDataFile')) + 1


def _values() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    # As images have it: background packs well, so that a flipped bit reaches far.
    values[: SHAPE[0] // 2] = 0
    return values


def _image(name: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        write_image(folder / name, _values(), AFFINE)
        return folder / name, _read_image

    return make


def _read_image(path: Path):
    volume = read_image(path)
    return volume.image, volume.affine


def _mgh(folder: Path) -> Made:
    nib.save(nib.MGHImage(_values(), AFFINE), folder / 'a.mgh')
    return folder / 'a.mgh', _read_image


def _pair(folder: Path) -> Made:
    nib.save(nib.Nifti1Pair(_values(), AFFINE), folder / 'a.img')
    return folder / 'a.hdr', _read_image


def _dicom(folder: Path) -> Made:
    write_slices(folder / 'series')
    return sorted((folder / 'series').iterdir())[2], lambda path: _read_image(path.parent)


def _dense() -> DenseTransform:
    field = np.random.default_rng(0).normal(scale=0.5, size=(*SHAPE, 3)).astype(np.float32)
    return DenseTransform(field, AFFINE)


def _transform(name: str, convention: str, transform=None) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        info = TransformInfo(fixed=IMAGE, moving=IMAGE)
        write_transform(folder / name, transform or _dense(), convention, info)
        return folder / name, lambda path: read_points_through(path, None)

    return make


def read_points_through(path: Path, image: ImageRecord | None) -> np.ndarray:
    """Read a transform and map points with it, which must be finite."""
    transform, _ = read_transform(path, fixed=image, moving=image)
    points = transform.map_points(np.array([[0.0, 0, 0], [3.0, 4.0, 5.0]]))
    if not np.isfinite(points).all():
        raise FloatingPointError(f'{path} was read, and gives {points}')
    return points


def _text(kind: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        name, text = text_of(kind)
        (folder / name).write_text(text)
        return folder / name, lambda path: read_points_through(path, IMAGE if kind == 'flirt' else None)

    return make


def _matlab(folder: Path) -> Made:
    path = folder / '0GenericAffine.mat'
    write_matlab(path, 'AffineTransform_double_3_3', [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3], [0, 0, 0])
    return path, lambda path: read_points_through(path, None)


def _weights(folder: Path) -> Made:
    path = folder / 'params.npz'
    arrays = {'a/kernel': np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)}
    write_released(path, arrays, Description('autofuse', {'fusion': 'gate'}))
    return path, lambda path: tuple(read_released(path)[0].values())


def _torch(folder: Path) -> Made:
    from autofuse_jax.porting.torch_files import read_state_dict, write_state_dict

    write_state_dict(folder / 'a.pt', {'a.weight': np.ones((3, 4), np.float32), 'a.bias': np.zeros(3, np.float32)})
    return folder / 'a.pt', lambda path: tuple(read_state_dict(path).values())


def _points(name: str, text: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        (folder / name).write_text(text)
        return folder / name, lambda path: read_points(path).points

    return make


def _pairs(folder: Path) -> Made:
    for name in ('f1', 'm1', 'f2', 'm2'):
        write_image(folder / f'{name}.nii.gz', _values(), AFFINE)
    with (folder / 'pairs.csv').open('w', newline='') as file:
        csv.writer(file).writerows(
            [['name', 'fixed', 'moving'], ['one', 'f1.nii.gz', 'm1.nii.gz'], ['two', 'f2.nii.gz', 'm2.nii.gz']]
        )
    return folder / 'pairs.csv', lambda path: [str(row) for row in read_pair_table(path)]


def _cases(folder: Path) -> Made:
    make_flat(folder / 'acdc')
    return folder / 'acdc' / 'cases.csv', lambda path: str(find_acdc(path.parent, None))


COMPOSITE = Chain((AffineTransform(np.diag([1.1, 1, 1, 1.0])), _dense()))
FCSV = (
    '# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,'
    'label,desc,associatedNodeID\n1,1.5,2,3,0,0,0,1,1,1,0,F-1,,\n2,4,5,6,0,0,0,1,1,1,0,F-2,,\n'
)
BINARY_KINDS = {
    '.nii image': Kind(_image('a.nii')),
    '.nii.gz image': Kind(_image('a.nii.gz'), sealed=whole_file),
    '.mgh image': Kind(_mgh),
    '.mgz image': Kind(_image('a.mgz'), sealed=whole_file),
    '.npz image': Kind(_image('a.npz'), sealed=whole_file),
    '.hdr/.img image': Kind(_pair),
    '.nrrd image': Kind(_image('a.nrrd'), 'SimpleITK', sealed=behind_header),
    '.mha image': Kind(_image('a.mha'), 'SimpleITK', sealed=behind_header),
    'DICOM series': Kind(_dicom, 'SimpleITK'),
    '.nii.gz field': Kind(_transform('a.nii.gz', 'itk'), sealed=whole_file),
    '.npz field': Kind(_transform('a.npz', 'voxel'), sealed=whole_file),
    '.h5 composite': Kind(_transform('a.h5', 'itk', COMPOSITE), 'h5py'),
    '.mat of ANTs': Kind(_matlab),
    **{f'{kind} in text': Kind(_text(kind), words=True) for kind in (*ITK_KINDS, 'lta', 'flirt')},
    'released weights': Kind(_weights, sealed=whole_file),
    '.pt weights': Kind(_torch, 'torch'),
    'points, .csv': Kind(_points('a.csv', 'label,x,y,z\na,1,2,3\nb,4,5,6\n'), words=True),
    'points, .fcsv': Kind(_points('a.fcsv', FCSV), words=True),
    'pairs.csv': Kind(_pairs, words=True),
    'cases.csv of ACDC': Kind(_cases, words=True),
}
