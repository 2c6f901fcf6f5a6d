"""Small synthetic folders in the two ACDC layouts, for tests."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (20, 18, 5)
SPACING = (1.5, 1.5, 6.3)
GROUPS = ('DCM', 'HCM', 'MINF', 'NOR', 'RV')


def save(path: Path, array: np.ndarray, spacing=SPACING) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def labels(shift: int) -> np.ndarray:
    """Boxes of the ids 1, 2 and 3, moved by `shift` voxels along the first axis."""
    result = np.zeros(SHAPE, np.uint8)
    for label in (1, 2, 3):
        result[4 + shift : 10 + shift, 4 * label : 4 * label + 3, 1:4] = label
    return result


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 500, SHAPE).astype(np.int16)


def make_flat(root: Path, names=('patient001', 'patient002', 'patient003'), splits=True) -> Path:
    rows = []
    for number, name in enumerate(names):
        for phase, frame in (('ED', 1), ('ES', 7)):
            save(root / name / f'image_{phase}.nii.gz', image(10 * number + frame))
            save(root / name / f'seg_{phase}.nii.gz', labels(0 if phase == 'ED' else 3))
            rows.append({'patient': name, 'group': GROUPS[number % 5], 'phase': phase, 'frame': frame})
    with (root / 'cases.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, ['patient', 'group', 'phase', 'frame'])
        writer.writeheader()
        writer.writerows(rows)
    if splits:
        content = {'acdc': {'train': list(names[:-1]), 'validation': [names[-1]]}}
        (root / 'splits.json').write_text(json.dumps(content))
    return root


def make_official(root: Path, training=3, testing=1, frames=4) -> Path:
    first_test = 101
    numbers = [('training', number + 1) for number in range(training)]
    numbers += [('testing', first_test + number) for number in range(testing)]
    for part, number in numbers:
        name = f'patient{number:03d}'
        folder = root / part / name
        save(
            folder / f'{name}_4d.nii.gz',
            np.stack([image(100 * number + t) for t in range(frames)], -1),
            (*SPACING[:3],),
        )
        for phase_shift, frame in ((0, 1), (3, 3)):
            save(folder / f'{name}_frame{frame:02d}.nii.gz', image(100 * number + frame - 1))
            save(folder / f'{name}_frame{frame:02d}_gt.nii.gz', labels(phase_shift))
        group = GROUPS[number % 5]
        (folder / 'Info.cfg').write_text(
            f'ED: 1\nES: 3\nGroup: {group}\nHeight: 184.0\nNbFrame: {frames}\nWeight: 95.0\n'
        )
    return root
