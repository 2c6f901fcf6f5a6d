"""Results of `python -m autofuse_jax.register`: a folder a pair, with a report and a transform."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from autofuse_jax.data.formats import stem_of
from autofuse_jax.data.volumes import read_labels
from autofuse_jax.errors import COUNT, UserError
from autofuse_jax.evaluation.pair_data import PairData, through_the_world
from autofuse_jax.evaluation.runs import Case, Run, Sources, no_pairs
from autofuse_jax.records.forms import LABEL_ID, Anything, Entries, Fields, Number, OneOf, OrNull, Table, Text
from autofuse_jax.records.reading import read_json
from autofuse_jax.storage.temporary import is_temporary
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.grids import axes_onto
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.conventions import ITK, VOXEL
from autofuse_jax.transforms_io.files import read_transform

REPORT_NAME = 'report.json'
# What `register --pairs` leaves in the folder of a pair that failed.
FAILED_NAME = 'failed.json'
SHOWN_FAILED = 8
# What is used of a report, by whoever reads one; what there may be besides depends on the options.
NUMBER = OrNull(Number())
IMAGE = Fields({'file': Text()}, {'labels_file': OrNull(Text()), 'shape': OrNull(Entries(Number(COUNT), 1, 5))})
VERDICT = Fields({}, {'level': Text(), 'headline': Text(), 'reasons': Entries(Text())})
REPORT = Fields(
    {'fixed': IMAGE, 'moving': IMAGE},
    {
        'classes': OrNull(Table(Text(), LABEL_ID)),
        'files': OrNull(Entries(Text())),
        'scores': OrNull(Table(OneOf((NUMBER, Text(), Table(Anything()), Entries(Anything()))))),
        'seconds': NUMBER,
        'times': OrNull(Table(NUMBER)),
        'verdict': OrNull(VERDICT),
    },
)
ANY_REPORT = Table(Anything())
ANOTHER_FILE = {
    'misfit': 'is no report of a registration',
    'expected': 'the report.json that `python -m autofuse_jax.register` writes',
    'fix': 'register this pair again, or move its folder away',
}
# The forward transform under the names that register gives it, and the convention of each.
TRANSFORMS = {'forward_voxel.nii.gz': VOXEL, 'forward_itk.nii.gz': ITK}
# A run is the folder of a pair, a folder of those, or one level more (subject/pair).
PATTERNS = (REPORT_NAME, f'*/{REPORT_NAME}', f'*/*/{REPORT_NAME}')


def find_reports(folder: Path) -> list[Path]:
    """Return the reports of a folder, on the first level that has any, sorted by path."""
    for pattern in PATTERNS:
        reports = _complete(folder.glob(pattern))
        if reports:
            return reports
    return []


def failed_sentence(folder: Path) -> str:
    """Say which pairs of a folder of results failed when they were last registered; empty where none did.

    Args:
        folder: Folder of the results.
    """
    failed = [
        path for pattern in PATTERNS for path in _complete(folder.glob(pattern.replace(REPORT_NAME, FAILED_NAME)))
    ]
    if not failed:
        return ''
    names = [path.parent.name if path.parent == folder else str(path.parent.relative_to(folder)) for path in failed]
    more = f' and {len(names) - SHOWN_FAILED} more' if len(names) > SHOWN_FAILED else ''
    older = sum((path.parent / REPORT_NAME).is_file() for path in failed)
    scored = f', and of {older} of them the result of an earlier run counts' if older else ''
    count = '1 pair' if len(names) == 1 else f'{len(names)} pairs'
    return f'{count} failed when last registered ({", ".join(names[:SHOWN_FAILED])}{more}){scored}.'


def _complete(paths: Iterable[Path]) -> list[Path]:
    """Files in order that no command is at work on."""
    return [path for path in sorted(paths) if not any(map(is_temporary, path.parents))]


def open_results(folder: Path, name: str, sources: Sources) -> Run:
    """Open a folder of results.

    Args:
        folder: Folder of one result, or of several.
        name: Name in tables.
        sources: `data` is searched for labels that are not where the report says.

    Returns:
        The run.

    Raises:
        UserError: There is no result, a report is damaged, or a transform or a label map that it names is missing.
    """
    reports = find_reports(folder)
    if not reports:
        raise no_pairs(folder, f'{REPORT_NAME} in it or in folders below it', 'name the folder that register wrote')
    parsed = [(path.parent, _read_report(path)) for path in reports]
    cases = []
    classes: dict[int, str] = {}
    groups = _groups([report['fixed']['file'] for _, report in parsed])
    for (place, report), group in zip(parsed, groups, strict=True):
        transform = next((place / name for name in TRANSFORMS if (place / name).is_file()), None)
        if transform is None:
            raise UserError(
                f'{place} has a {REPORT_NAME} but no {" or ".join(TRANSFORMS)}',
                fix='register this pair again, or move the folder away',
            )
        labels = [_labels_file(report, role, place, sources.data) for role in ('fixed', 'moving')]
        classes |= {int(label): title for label, title in (report.get('classes') or {}).items()}
        pair = str(place.relative_to(folder)) if place != folder else _pair_name(report)
        cases.append(Case(pair, group, _loader(transform, report, labels), _facts(report)))
    failed = failed_sentence(folder)
    notes = [failed] if failed else []
    unlabelled = sum(1 for _, report in parsed if not _has_labels(report))
    if unlabelled:
        notes.append(f'{unlabelled} of {len(cases)} pairs were registered without label maps and have no DSC or HD95.')
    return Run(name, folder, 'results of register', tuple(cases), classes, tuple(notes))


def _read_report(path: Path) -> dict[str, Any]:
    if 'reference_frame' in read_json(path, ANY_REPORT, **ANOTHER_FILE):
        raise UserError(
            f'{path} is the report of a series, whose frames are not evaluated',
            expected='results of pairs of images',
            fix='leave it out; its scores are in that file, and its curves in curves.csv',
        )
    return read_json(path, REPORT, **ANOTHER_FILE)


def _has_labels(report: dict[str, Any]) -> bool:
    return all(report[role].get('labels_file') for role in ('fixed', 'moving'))


def _facts(report: dict[str, Any]) -> dict[str, Any]:
    return {'fixed_file': report['fixed']['file'], 'moving_file': report['moving']['file']}


def _labels_file(report: dict[str, Any], role: str, place: Path, data: Path | None) -> Path | None:
    """Where the label map of an image is; reports hold paths as they were typed, perhaps from another folder."""
    if not _has_labels(report):
        return None
    file = Path(report[role]['labels_file'])
    candidates = [file, place / file]
    if data is not None:
        candidates += [data.joinpath(*file.parts[-count:]) for count in range(len(file.parts), 0, -1)]
    for candidate in candidates:
        # Unlike the path's own method, it takes what cannot be a name for no file.
        if os.path.isfile(candidate):
            return candidate
    raise UserError(
        f'the {role} label map {file} that {place / REPORT_NAME} names does not exist',
        fix='add --data=FOLDER with the folder that holds the images and labels',
    )


def _loader(transform: Path, report: dict[str, Any], labels: Sequence[Path | None]):
    def load() -> PairData:
        dense, _ = read_transform(transform, TRANSFORMS[transform.name])
        if not isinstance(dense, DenseTransform):
            raise UserError(f'{transform} holds no displacement field', fix='run register again')
        displacement, affine = dense.displacement, dense.affine
        seconds = report.get('seconds')
        if labels[0] is None:
            return PairData(displacement, affine, affine, np.eye(4), seconds=seconds)
        fixed_labels, fixed_grid = read_labels(labels[0])
        moving_labels, moving_grid = read_labels(labels[1])
        # Like `register`, which takes label maps in any order of axes.
        axes = axes_onto(fixed_grid, dense.grid)
        if axes is None:
            here, there, apart = describe_difference(fixed_grid, dense.grid)
            raise UserError(
                f'the label map {labels[0]} is on another grid ({here}) than the fixed image of {transform.parent} '
                f'({there}){apart}',
                expected='the label map of the fixed image, on its grid',
                fix='resample the label map (nearest neighbour), or correct the path in the report',
            )
        moving_shape = report['moving'].get('shape')
        if moving_shape is not None and _sizes(moving_shape) != _sizes(moving_labels.shape):
            raise UserError(
                f'the label map {labels[1]} is on another grid ({moving_labels.shape} voxels) than the moving image '
                f'{report["moving"]["file"]} ({tuple(moving_shape)} voxels)',
                expected='the label map of the moving image, on its grid',
                fix='resample the label map (nearest neighbour), or correct the path in the report',
            )
        return PairData(
            displacement,
            affine,
            moving_grid.affine,
            through_the_world(affine, moving_grid.affine),
            np.ascontiguousarray(nib.orientations.apply_orientation(fixed_labels, axes)),
            moving_labels,
            seconds=seconds,
        )

    return load


def _sizes(shape: Sequence[int]) -> list[int]:
    """Sizes in any order, without axes of one voxel or one frame, which a file may have or leave out."""
    return sorted(size for size in shape if size > 1)


def _pair_name(report: dict[str, Any]) -> str:
    moving, fixed = (stem_of(report[role]['file']) for role in ('moving', 'fixed'))
    return f'{moving}_to_{fixed}'


def _groups(files: Sequence[str]) -> list[str]:
    """One name a fixed image: its folder where folders differ (a folder a subject), else its file."""
    folders = [Path(file).parent.name for file in files]
    return folders if len(set(folders)) > 1 else [stem_of(file) for file in files]
