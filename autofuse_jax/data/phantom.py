"""A synthetic cine data set: beating hearts in a chest, with exact labels and known motion between any two frames.

It serves the quick start and the tests: it needs no download, looks like short-axis cine series, and there is a true
answer to compare with (`true_displacement`).
"""

import os
from pathlib import Path

import numpy as np

from autofuse_jax.data.manifests import MANIFEST_NAME, Frame, Manifest, Subject, read_manifest, write_manifest
from autofuse_jax.data.phantom_anatomy import CLASSES
from autofuse_jax.data.phantom_frames import Phantom, random_phantom, render_frame, true_displacement
from autofuse_jax.errors import COUNT, POSITIVE, UserError, check_numbers
from autofuse_jax.files import replacing

__all__ = [
    'CLASSES',
    'Phantom',
    'make_phantom_dataset',
    'random_phantom',
    'render_frame',
    'true_displacement',
]

DATASET_NAME = 'phantom'
# Part of the settings, so that folders made by an older drawing of the phantom are not mistaken for current ones.
PHANTOM_VERSION = 1


def make_phantom_dataset(
    root: str | os.PathLike,
    *,
    train: int = 8,
    validation: int = 2,
    test: int = 2,
    frames: int = 6,
    shape: tuple[int, int, int] = (48, 48, 16),
    spacing: tuple[float, float, float] = (3.0, 3.0, 6.0),
    seed: int = 0,
) -> Manifest:
    """Write a phantom data set in the layout that `python -m autofuse_jax.prepare` writes for real data.

    Only the end-diastolic frame (1) and the end-systolic one carry labels, as in ACDC. The content depends on the
    arguments alone. A folder that already holds the same data set is used as it is.

    Args:
        root: Folder to write to; made if missing.
        train: Number of training subjects.
        validation: Number of validation subjects.
        test: Number of test subjects.
        frames: Frames per subject, at least 2.
        shape: (D, H, W) in voxels, each at least 8.
        spacing: Voxel size along (D, H, W), in millimetres.
        seed: Seed of everything random, 0 or larger.

    Returns:
        The manifest, also written as `manifest.json`.

    Raises:
        UserError: The folder holds another data set, or an argument is out of range.
    """
    root = Path(root)
    counts = {'train': train, 'validation': validation, 'test': test}
    if min(counts.values()) < 0 or sum(counts.values()) == 0:
        raise UserError(
            f'phantom subjects {counts}', expected='counts of at least 0, not all 0', fix='ask for subjects'
        )
    if seed < 0:
        raise UserError(f'phantom seed {seed}', expected='0 or larger', fix='choose another seed')
    check_numbers('data.phantom.shape', shape, COUNT, count=3)
    check_numbers('data.phantom.spacing', spacing, POSITIVE, count=3)
    depth, height, width = (int(size) for size in shape)
    shape = depth, height, width
    spacing = float(spacing[0]), float(spacing[1]), float(spacing[2])
    settings = {'phantom_version': PHANTOM_VERSION, 'seed': seed, 'frames': frames, **counts}
    if (root / MANIFEST_NAME).is_file():
        present = read_manifest(root)
        same = present.dataset == DATASET_NAME and present.settings == settings
        if not (same and present.shape == shape and present.spacing == spacing):
            raise UserError(
                f'{root} holds another data set: {present.dataset}, shape {present.shape}, '
                f'spacing {present.spacing}, {present.settings}',
                expected=f'no data set, or {DATASET_NAME}, shape {shape}, spacing {spacing}, {settings}',
                fix='choose another folder, or delete this one if it is no longer needed',
            )
        if all((root / frame.file).is_file() for subject in present.subjects for frame in subject.frames):
            return present
    splits = [split for split, count in counts.items() for _ in range(count)]
    subjects = []
    for number, split in enumerate(splits, start=1):
        phantom = random_phantom(np.random.default_rng([seed, number]), frames=frames, shape=shape, spacing=spacing)
        subjects.append(_write_subject(root, f'phantom{number:03d}', split, phantom))
    manifest = Manifest(root, DATASET_NAME, shape, spacing, dict(CLASSES), tuple(subjects), settings)
    # Written last: a folder without a manifest is an unfinished one.
    write_manifest(manifest)
    return manifest


def _write_subject(root: Path, subject_id: str, split: str, phantom: Phantom) -> Subject:
    # The first axis runs from the right ventricle to the left one, so towards the patient's left.
    affine = np.diag([-phantom.spacing[0], *phantom.spacing[1:], 1.0])
    phases = {1: 'ED', phantom.systole: 'ES'}
    frames = []
    for index in range(1, phantom.frames + 1):
        phase = phases.get(index, '')
        image, labels = render_frame(phantom, index)
        arrays = {'vol': image, 'affine': affine}
        if phase:
            arrays['seg'] = labels
        frames.append(Frame(index, phase, f'{subject_id}/frame_{index:02d}.npz', has_labels=bool(phase)))
        with replacing(root / frames[-1].file) as temporary:
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]  # NumPy types the keyword allow_pickle only.
    return Subject(subject_id, split, '', tuple(frames))
