"""Manifests of the parts of a preparation that several jobs share, and the one that they make together."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.choices import SPLITS
from autofuse_jax.data.manifests import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from autofuse_jax.preparation.sources import Problem
from autofuse_jax.runtime import Part

# Settings that say what became of the subjects of a part; all others must be the same in all parts.
OF_SUBJECTS = ('left_out', 'measured')


def part_name(part: Part) -> str:
    """Return the file name of a part's manifest: 'manifest-part-3-of-20.json'."""
    return f'{MANIFEST_NAME.removesuffix(".json")}-part-{part.file_name}.json'


def problems_of_part(problems: Sequence[Problem], part: Part | None) -> list[Problem]:
    """Return the problems of the source that a part reports: the first reports all, so that each is told once."""
    return list(problems) if part is None or part.number == 1 else []


def write_manifest_of(manifest: Manifest, part: Part | None) -> None:
    """Write a manifest, or that of a part and, where it is the last one that was missing, the one of all parts.

    Args:
        manifest: Subjects of this run; with a part its pairs may name subjects of other parts.
        part: The share of the subjects, or None for all of them.
    """
    if part is None:
        write_manifest(manifest)
        return
    write_manifest(manifest, part_name(part))
    parts, missing = _parts(manifest, part.count)
    if missing:
        numbers = ', '.join(map(str, missing))
        print(f'part {part}: {len(manifest.subjects)} subjects; {MANIFEST_NAME} follows after the parts {numbers}')
        return
    joined = join_parts(parts)
    write_manifest(joined)
    counts = ', '.join(f'{len(joined.subjects_of(split))} {split}' for split in SPLITS)
    print(f'part {part}: {len(manifest.subjects)} subjects, the last part; all parts: {counts}')


def join_parts(parts: Sequence[Manifest]) -> Manifest:
    """Make one manifest of those of all parts, the same as a run without parts makes.

    Args:
        parts: Manifests of the same data set, prepared with the same settings.

    Returns:
        The manifest, subjects ordered by their ids.
    """
    subjects = sorted((subject for part in parts for subject in part.subjects), key=lambda subject: subject.id)
    ids = {subject.id for subject in subjects}
    settings = dict(parts[0].settings)
    settings['left_out'] = sorted({name for part in parts for name in part.settings['left_out']})
    if 'measured' in settings:
        measured = {name: facts for part in parts for name, facts in part.settings['measured'].items()}
        settings['measured'] = dict(sorted(measured.items()))
    original = {label: name for part in parts for label, name in part.original_classes.items()}
    pairs = tuple(dict.fromkeys(pair for part in parts for pair in part.pairs if set(pair) <= ids))
    return dataclasses.replace(
        parts[0],
        subjects=tuple(subjects),
        settings=settings,
        original_classes=dict(sorted(original.items())),
        pairs=pairs,
    )


def _parts(manifest: Manifest, count: int) -> tuple[list[Manifest], list[int]]:
    """Manifests of the parts that are there, prepared as this one was, and the numbers of the others."""
    parts, missing = [], []
    for number in range(1, count + 1):
        path = Path(manifest.root, part_name(Part(number, count)))
        other = read_manifest(path) if path.is_file() else None
        if other is not None and _common(other) == _common(manifest):
            parts.append(other)
        else:
            missing.append(number)
    return parts, missing


def _common(manifest: Manifest) -> dict[str, Any]:
    return {key: value for key, value in manifest.settings.items() if key not in OF_SUBJECTS}
