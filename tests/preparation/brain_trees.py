"""Small synthetic brains in the layouts of public data sets, for tests: a block of four structures on a grid."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (24, 28, 26)
# First voxel and size of the brain's box in a subject that is not shifted.
FIRST, SIZE = (6, 7, 8), (12, 14, 10)
# Original ids of the four quarters: left and right white matter, left and right hippocampus of neurite-OASIS.
OASIS_IDS = (1, 20, 14, 30)
LAS = np.array([[-1.0, 0, 0, 30], [0, 1, 0, -20], [0, 0, 1, -10], [0, 0, 0, 1]])


def labels(ids=OASIS_IDS, shift=(0, 0, 0)) -> np.ndarray:
    """A box whose quarters in the plane of the first two axes have four ids, moved by `shift` voxels."""
    result = np.zeros(SHAPE, np.int16)
    first = np.add(FIRST, shift)
    middle, last = first + np.array(SIZE) // 2, first + SIZE
    for number, label in enumerate(ids):
        left, front = number % 2, number // 2
        result[
            (first[0], middle[0])[left] : (middle[0], last[0])[left],
            (first[1], middle[1])[front] : (middle[1], last[1])[front],
            first[2] : last[2],
        ] = label
    return result


def image(seed: int, shift=(0, 0, 0)) -> np.ndarray:
    """Positive noise inside the box, 0 outside, so that it is a skull-stripped brain."""
    noise = np.random.default_rng(seed).integers(500, 1500, SHAPE).astype(np.int16)
    return np.where(labels(shift=shift) > 0, noise, 0).astype(np.int16)


def save(path: Path, array: np.ndarray, affine=LAS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.MGHImage if path.name.endswith('.mgz') else nib.Nifti1Image
    nib.save(kind(array, np.asarray(affine, np.float32)), path)
    return path


def make_template(path: Path) -> Path:
    """A template whose brain is the box of the subjects, in RAS, around the world's origin."""
    affine = np.eye(4)
    affine[:3, 3] = -np.add(FIRST, np.divide(np.subtract(SIZE, 1), 2))
    return save(path, image(99).astype(np.float32), affine)


def make_folder(root: Path, names=('s1', 's2', 's3'), ids=OASIS_IDS, unlabelled=()) -> Path:
    """SUBJECT/t1.nii.gz and SUBJECT/seg.nii.gz; each subject is shifted by its number along the first axis."""
    for number, name in enumerate(names):
        shift = (number, 0, 0)
        save(root / name / 't1.nii.gz', image(number, shift))
        if name not in unlabelled:
            save(root / name / 'seg.nii.gz', labels(ids, shift))
    return root


def make_oasis(root: Path, count=3) -> Path:
    for number in range(1, count + 1):
        folder = root / f'OASIS_OAS1_{number:04d}_MR1'
        save(folder / 'aligned_norm.nii.gz', image(number))
        save(folder / 'aligned_seg35.nii.gz', labels())
    return root


def make_learn2reg(root: Path) -> Path:
    for number in (1, 2, 3, 4):
        save(root / 'imagesTr' / f'OASIS_{number:04d}_0000.nii.gz', image(number))
        if number < 4:
            save(root / 'labelsTr' / f'OASIS_{number:04d}_0000.nii.gz', labels())
    content = {
        'name': 'OASIS',
        'training': [{'image': f'./imagesTr/OASIS_{number:04d}_0000.nii.gz'} for number in (1, 2, 3, 4)],
        'registration_val': [
            {'fixed': './imagesTr/OASIS_0002_0000.nii.gz', 'moving': './imagesTr/OASIS_0003_0000.nii.gz'}
        ],
    }
    content['training'][0]['label'] = './labelsTr/OASIS_0001_0000.nii.gz'
    (root / 'OASIS_dataset.json').write_text(json.dumps(content))
    return root


def make_authors(root: Path, dtype='U') -> Path:
    """npz files with `vol` in [0, 1] and `seg`, and lists of validation and test pairs."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(1, 6):
        values = (image(number) / 2000).astype(np.float32)
        np.savez(root / f'brain_{number}.npz', vol=values, seg=labels().astype(np.uint8))
    pairs = np.array([['brain_1.npz', 'brain_2.npz'], ['brain_2.npz', 'brain_1.npz']]).astype(dtype)
    np.save(root / 'test_pairs.npy', pairs)
    np.save(root / 'val_pairs.npy', np.array([['brain_3.npz', 'brain_4.npz']]).astype(dtype))
    return root
