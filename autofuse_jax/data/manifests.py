"""The manifest: a JSON file that lists the prepared subjects of a data set, their frames, labels and splits."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from autofuse_jax.choices import SPLITS
from autofuse_jax.errors import POSITIVE, Range, UserError
from autofuse_jax.files import write_json
from autofuse_jax.records.forms import LABEL_ID, Anything, Entries, Fields, Flag, Number, Table, Text
from autofuse_jax.records.paths import leads_inside
from autofuse_jax.records.reading import check_form, read_json

MANIFEST_NAME = 'manifest.json'
MANIFEST_FORMAT = 'autofuse_jax manifest'
MANIFEST_VERSION = 1
# Voxels along an axis, many times more than anybody prepares.
LONGEST_AXIS = 100_000
FIX = 'prepare the data again'
FRAME = Fields(
    {'index': Number(Range(whole=True)), 'phase': Text(), 'file': Text(), 'has_labels': Flag()},
    others=None,
)
SUBJECT = Fields({'id': Text(), 'split': Text(SPLITS), 'group': Text(), 'frames': Entries(FRAME, least=1)})
MANIFEST = Fields(
    {
        'dataset': Text(),
        'shape': Entries(Number(Range(least=1, most=LONGEST_AXIS, whole=True)), 3, 3),
        'spacing_mm': Entries(Number(POSITIVE), 3, 3),
        'classes': Table(Text(), LABEL_ID, least=1),
        'settings': Table(Anything()),
        'subjects': Entries(SUBJECT),
    },
    {'original_classes': Table(Text(), LABEL_ID), 'pairs': Entries(Entries(Text(), 2, 2)), 'folders': Table(Text())},
)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One prepared volume of a subject.

    Attributes:
        index: Frame number in the cardiac cycle as the source counts it (ACDC counts from 1).
        phase: 'ED' (end of diastole), 'ES' (end of systole), or '' for a frame in between.
        file: Path of the npz (`vol`, optional `seg`, `affine`), relative to the manifest's folder: in it, or a file of
            one of `Manifest.folders`.
        has_labels: Whether the file holds a label map.
    """

    index: int
    phase: str
    file: str
    has_labels: bool


@dataclasses.dataclass(frozen=True)
class Subject:
    """One person (or phantom) with its frames in temporal order.

    Attributes:
        id: Unique name, such as 'patient001'.
        split: 'train', 'validation' or 'test'.
        group: Diagnosis or another stratum; '' where unknown.
        frames: Frames, one or more.
    """

    id: str
    split: str
    group: str
    frames: tuple[Frame, ...]

    def frame_of_phase(self, phase: str) -> Frame | None:
        """Return the frame of a phase ('ED' or 'ES'), or None where the subject has none."""
        return next((frame for frame in self.frames if frame.phase == phase), None)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A prepared data set.

    Attributes:
        root: Folder that holds the manifest and the files it names.
        dataset: Name of the source, such as 'acdc' or 'phantom'.
        shape: Shape (D, H, W) of every volume, in voxels.
        spacing: Voxel size along (D, H, W), in millimetres.
        classes: Label id to name, background 0 included, ids 0 .. C-1 without gaps.
        subjects: Subjects in the order of the file.
        settings: Readable dictionary of how the data was prepared.
        original_classes: Id to name of the structures that are scored, where the files hold the original label maps
            (`seg_original`) beside the training classes; empty where the training classes are scored.
        pairs: (fixed, moving) ids of subjects that the source lists for evaluation; empty where it lists none.
        folders: Name to folder, relative to `root`, of the data sets that this one joins and whose files stay there.
    """

    root: Path
    dataset: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    classes: dict[int, str]
    subjects: tuple[Subject, ...]
    settings: dict[str, Any]
    original_classes: dict[int, str] = dataclasses.field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    folders: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def scored_classes(self) -> dict[int, str]:
        """Id to name of what evaluation scores, background included: original structures where there are any."""
        return {0: self.classes[0], **self.original_classes} if self.original_classes else self.classes

    @property
    def files(self) -> list[str]:
        """Files of all frames, relative to the root."""
        return [frame.file for subject in self.subjects for frame in subject.frames]

    def subjects_of(self, split: str) -> tuple[Subject, ...]:
        """Return the subjects of one split, in manifest order."""
        return tuple(subject for subject in self.subjects if subject.split == split)


def write_manifest(manifest: Manifest, name: str = MANIFEST_NAME) -> Path:
    """Write a manifest into its root through a temporary name.

    Args:
        manifest: The manifest; its `root` is the folder.
        name: Name of the file; default 'manifest.json'.

    Returns:
        The path of the file.
    """
    record = {
        'format': MANIFEST_FORMAT,
        'version': MANIFEST_VERSION,
        'dataset': manifest.dataset,
        'shape': list(manifest.shape),
        'spacing_mm': list(manifest.spacing),
        'classes': {str(label): name for label, name in manifest.classes.items()},
        'settings': manifest.settings,
        'subjects': [dataclasses.asdict(subject) for subject in manifest.subjects],
    }
    if manifest.original_classes:
        record['original_classes'] = {str(label): name for label, name in manifest.original_classes.items()}
    if manifest.pairs:
        record['pairs'] = [list(pair) for pair in manifest.pairs]
    if manifest.folders:
        record['folders'] = manifest.folders
    path = manifest.root / name
    write_json(path, record)
    return path


def read_manifest(root: str | os.PathLike) -> Manifest:
    """Read the manifest of a prepared data set and check that it is one.

    Args:
        root: The folder that `python -m autofuse_jax.prepare` wrote, or the manifest file itself.

    Returns:
        The manifest. The volumes it names are not opened.

    Raises:
        UserError: There is no manifest, it is not JSON, its content is not a manifest of this version, or it names a
            file that is neither in its folder nor listed by a data set that it joins.
    """
    return _read(Path(root), ())


def _read(path: Path, joining: tuple[Path, ...]) -> Manifest:
    root = path
    if path.is_dir():
        path = path / MANIFEST_NAME
    if not path.is_file():
        raise UserError(
            f'no {MANIFEST_NAME} in {root}',
            expected='the output folder of `python -m autofuse_jax.prepare`',
            fix='prepare the data first, or correct data.root',
        )
    record = read_json(path, fix=FIX)
    if (
        not isinstance(record, dict)
        or record.get('format') != MANIFEST_FORMAT
        or record.get('version') != MANIFEST_VERSION
    ):
        raise UserError(
            f'{path} is no manifest of this program',
            expected=f'"format": "{MANIFEST_FORMAT}", "version": {MANIFEST_VERSION}',
            fix='prepare the data again with this version',
        )
    check_form(record, MANIFEST, str(path), fix=FIX)
    try:
        manifest = _parse(record, path.parent)
    except ValueError as error:
        raise UserError(f'{path} is incomplete or damaged ({error})', fix=FIX) from error
    _check_files(manifest, path, joining)
    return manifest


def _check_files(manifest: Manifest, path: Path, joining: tuple[Path, ...]) -> None:
    """Refuse files outside of the folder, but for those that the manifest of a data set which is joined lists."""
    outside = [file for file in manifest.files if not leads_inside(file)]
    if not outside:
        return
    known: set[str] = set()
    for folder in manifest.folders.values():
        place = manifest.root / folder
        # A data set cannot be a part of itself.
        if not os.path.isabs(folder) and place.resolve() not in joining:
            joined = _read(place, (*joining, manifest.root.resolve(), place.resolve()))
            known.update(Path(folder, file).as_posix() for file in joined.files)
    strange = sorted(set(outside) - known)
    if strange:
        raise UserError(
            f'{path} names the file {strange[0]}',
            expected='files in its folder, without .., or files that a data set which it joins lists',
            fix='prepare the data again',
        )


def _parse(record: dict[str, Any], root: Path) -> Manifest:
    subjects = []
    for entry in record['subjects']:
        frames = tuple(Frame(**frame) for frame in entry['frames'])
        subjects.append(Subject(entry['id'], entry['split'], entry['group'], frames))
    shape = tuple(record['shape'])
    first, second, third = (float(size) for size in record['spacing_mm'])
    spacing = (first, second, third)
    classes = {int(label): name for label, name in record['classes'].items()}
    if sorted(classes) != list(range(len(classes))):
        raise ValueError(f'class ids {sorted(classes)} must be 0 .. {len(classes) - 1}')
    original = {int(label): name for label, name in record.get('original_classes', {}).items()}
    if 0 in original:
        raise ValueError('original class 0 is background, which has no name of its own')
    pairs = tuple((fixed, moving) for fixed, moving in record.get('pairs', []))
    return Manifest(
        root,
        record['dataset'],
        shape,
        spacing,
        classes,
        tuple(subjects),
        record['settings'],
        original,
        pairs,
        record.get('folders', {}),
    )
