"""Joining prepared data sets into one manifest, such as labelled OASIS and unlabelled ADNI; no volume is copied."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.data.manifests import Manifest, Subject, read_manifest
from autofuse_jax.errors import UserError


def join_data_sets(roots: Sequence[Path], out: Path) -> Manifest:
    """Make one manifest of several prepared data sets.

    Subjects are called after their data set and keep their splits; files stay where they are and are named relative
    to `out`.

    Args:
        roots: Folders of prepared data sets, two or more.
        out: Folder of the new manifest.

    Returns:
        The manifest, not written yet.

    Raises:
        UserError: Fewer than two folders, data sets of the same name, or grids, classes or original labels that differ.
    """
    manifests = [read_manifest(root) for root in roots]
    names = [manifest.dataset for manifest in manifests]
    if len(manifests) < 2 or len(set(names)) < len(names):
        raise UserError(
            f'the data sets to join are {", ".join(names)}',
            expected='two or more of different names',
            fix='give --source once for each prepared data set',
        )
    first = manifests[0]
    for other in manifests[1:]:
        for field in ('shape', 'spacing', 'classes'):
            if getattr(first, field) != getattr(other, field):
                raise UserError(
                    f'{other.root} has another {field} than {first.root} '
                    f'({getattr(other, field)} and {getattr(first, field)})',
                    fix='prepare both with the same --shape, --spacing and kind of labels',
                )
    original: dict[int, str] = {}
    for manifest in manifests:
        for label, name in manifest.original_classes.items():
            if original.setdefault(label, name) != name:
                raise UserError(
                    f'label {label} is {original[label]!r} in one data set and {name!r} in {manifest.root}',
                    expected='label maps of one convention',
                    fix='join only one of them, and test on the other by itself',
                )
    subjects, pairs = [], []
    for manifest in manifests:
        subjects += [_relocate(subject, manifest, out) for subject in manifest.subjects]
        pairs += [(f'{manifest.dataset}-{one}', f'{manifest.dataset}-{other}') for one, other in manifest.pairs]
    settings = {'joined': {manifest.dataset: manifest.settings for manifest in manifests}}
    return Manifest(
        out,
        '+'.join(names),
        first.shape,
        first.spacing,
        first.classes,
        tuple(subjects),
        settings,
        dict(sorted(original.items())),
        tuple(pairs),
        {manifest.dataset: _folder(manifest, out) for manifest in manifests},
    )


def _folder(manifest: Manifest, out: Path) -> str:
    return Path(os.path.relpath(manifest.root.resolve(), out.resolve())).as_posix()


def _relocate(subject: Subject, manifest: Manifest, out: Path) -> Subject:
    folder = _folder(manifest, out)
    frames = [dataclasses.replace(frame, file=Path(folder, frame.file).as_posix()) for frame in subject.frames]
    return Subject(f'{manifest.dataset}-{subject.id}', subject.split, subject.group, tuple(frames))
