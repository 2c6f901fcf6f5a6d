"""Small results of registrations, made by hand: a block that moves by a known number of voxels."""

import json
from pathlib import Path

import numpy as np

from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.conventions import VOXEL
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo

SHAPE = (12, 10, 8)
AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])
CLASSES = {'0': 'background', '1': 'left_ventricle', '2': 'right & rest'}


def labels_at(start: int, *, second: bool = True) -> np.ndarray:
    """A block of label 1 with the planes start .. start + 3, and one of label 2 at the other end of the second axis."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[start : start + 4, 1:4, 2:6] = 1
    if second:
        labels[start : start + 4, 5:9, 2:6] = 2
    return labels


def shift_field(shift: float) -> np.ndarray:
    """u = (shift, 0, 0) everywhere."""
    field = np.zeros((*SHAPE, 3), np.float32)
    field[..., 0] = shift
    return field


def write_result(
    folder: Path,
    *,
    shift: float,
    data: Path,
    subject: str = 'one',
    fixed_start: int = 5,
    moving_start: int = 3,
    labelled: bool = True,
    seconds: float = 2.0,
) -> Path:
    """Write what `register` leaves of one pair; images and labels go into `data/subject`."""
    place = data / subject
    roles = {}
    for role, start in (('fixed', fixed_start), ('moving', moving_start)):
        labels = labels_at(start)
        write_labels(place / f'{role}_seg.nii.gz', labels, AFFINE)
        write_image(place / f'{role}.nii.gz', labels.astype(np.float32), AFFINE)
        labels_file = str(place / f'{role}_seg.nii.gz') if labelled else None
        roles[role] = {'file': str(place / f'{role}.nii.gz'), 'shape': list(SHAPE), 'labels_file': labels_file}
    transform = DenseTransform(shift_field(shift), AFFINE)
    record = ImageRecord(roles['fixed']['file'], ImageGrid(SHAPE, AFFINE))
    write_transform(folder / 'forward_voxel.nii.gz', transform, VOXEL, TransformInfo(fixed=record, moving=record))
    (folder / 'report.json').write_text(json.dumps({**roles, 'classes': CLASSES, 'seconds': seconds}))
    return folder


def write_results(root: Path, shifts: dict[str, float], data: Path) -> Path:
    """Write a folder of results, one a subject, each with its own shift."""
    for subject, shift in shifts.items():
        write_result(root / subject, shift=shift, data=data, subject=subject)
    return root


def write_learn2reg(root: Path, cases: dict[str, int], *, landmarks: bool = True) -> Path:
    """Write a data set in the layout of Learn2Reg, every case a label map whose block starts at the given plane."""
    for case, start in cases.items():
        name = f'Toy_{case}_0000'
        labels = labels_at(start)
        write_labels(root / 'labelsTr' / f'{name}.nii.gz', labels, AFFINE)
        write_image(root / 'imagesTr' / f'{name}.nii.gz', labels.astype(np.float32), AFFINE)
        if landmarks:
            (root / 'landmarksTr').mkdir(exist_ok=True)
            points = np.array([[start, 2.0, 3.0], [start + 2.0, 6.0, 4.0]])
            np.savetxt(root / 'landmarksTr' / f'{name}.csv', points, delimiter=',')
    first, *others = cases
    pairs = [
        {'fixed': f'./imagesTr/Toy_{first}_0000.nii.gz', 'moving': f'./imagesTr/Toy_{other}_0000.nii.gz'}
        for other in others
    ]
    path = root / 'Toy_dataset.json'
    path.write_text(json.dumps({'name': 'Toy', 'tensorImageShape': {'0': list(SHAPE)}, 'registration_val': pairs}))
    return path
