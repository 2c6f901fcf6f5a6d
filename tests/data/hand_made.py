"""Prepared data sets of a few voxels, made by hand: every value in them is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.data.formats import store_npz
from autofuse_jax.data.manifests import Frame, Manifest, Subject, write_manifest

CLASSES = {0: 'background', 1: 'ventricle'}


def subject(name: str, frames: str, split: str = 'train') -> Subject:
    """Describe a subject in one word a frame, such as 'ED+ - ES+': the phase ('-' for none) and '+' where labelled."""
    entries = []
    for index, word in enumerate(frames.split(), start=1):
        phase = word.rstrip('+').replace('-', '')
        entries.append(Frame(index, phase, f'{name}/frame_{index:02d}.npz', has_labels=word.endswith('+')))
    return Subject(name, split, '', tuple(entries))


def manifest_of(*subjects: Subject, root: Path = Path('nowhere'), shape: Sequence[int] = (4, 4, 4)) -> Manifest:
    """Return the manifest of these subjects without writing anything."""
    return Manifest(root, 'hand_made', tuple(shape), (1.0, 1.0, 1.0), dict(CLASSES), subjects, {})


def write_frame(manifest: Manifest, frame: Frame, image: np.ndarray, labels: np.ndarray | None = None) -> None:
    """Write one frame of a manifest."""
    arrays = {'vol': image.astype(np.float32), 'affine': np.eye(4)}
    if labels is not None:
        arrays['seg'] = labels.astype(np.uint8)
    store_npz(manifest.root / frame.file, arrays)


def write_data_set(manifest: Manifest) -> Manifest:
    """Write the manifest and all its frames: a block, labelled 1, moves by a voxel a frame along the first axis."""
    for entry in manifest.subjects:
        for frame in entry.frames:
            labels = np.zeros(manifest.shape, np.uint8)
            labels[frame.index : frame.index + 2, 1:-1, 1:-1] = 1
            write_frame(manifest, frame, labels, labels if frame.has_labels else None)
    write_manifest(manifest)
    return manifest
