"""Finding the subjects of ACDC (Bernard et al., IEEE TMI 2018) in the official tree or in a flat copy of ED and ES.

Official tree: SOURCE/training/patient001/{Info.cfg, patient001_4d.nii.gz, patient001_frame01_gt.nii.gz, ...} and
SOURCE/testing/patient101/...; every frame of the 4-D file is used. The separate frame files are not: they repeat
frames of the 4-D file.

Flat layout: SOURCE/cases.csv and SOURCE/patient001/{image,seg}_{ED,ES}.nii.gz.
"""

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path

from autofuse_jax.choices import ACDC
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.sources import Problem, Source, SourceFrame, SourceSubject
from autofuse_jax.preparation.splits import SPLITS_EXAMPLE, SPLITS_NAME, draw_validation, read_splits

CLASSES = {0: 'background', 1: 'right ventricle cavity', 2: 'myocardium', 3: 'left ventricle cavity'}
LABEL_CONVENTION = 'ACDC ids: 0 background, 1 right ventricle cavity, 2 myocardium, 3 left ventricle cavity'
PHASES = ('ED', 'ES')
CASES_NAME = 'cases.csv'
CASES_COLUMNS = ('patient', 'group', 'phase', 'frame')
# A tenth of the official training patients, rounded up: 10 of 100, two of each of the five groups.
VALIDATION_FRACTION = 0.1
VALIDATION_SEED = 2018
# Digits of the number of a frame.
LONGEST_NUMBER = 6
LAYOUTS = (
    'either the official ACDC tree (training/patient001/{Info.cfg, patient001_4d.nii.gz, ...}, testing/..., also '
    'inside a folder database/), or a flat folder (cases.csv, patient001/{image,seg}_{ED,ES}.nii.gz, ...)'
)


def find_acdc(root: str | os.PathLike, splits_file: str | os.PathLike | None = None) -> Source:
    """List the subjects of an ACDC folder without opening the images.

    Args:
        root: Folder in the official or in the flat layout.
        splits_file: JSON with the splits. Default None: the official tree takes testing/ as test and draws a tenth of
            training/ as validation; the flat layout takes splits.json from `root` or the folder above it.

    Returns:
        The source; subjects with a missing or unreadable text file are in its `problems`.

    Raises:
        UserError: `root` is in neither layout, or the splits are missing or unusable.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f'there is no folder {root}', expected=LAYOUTS, fix='correct --source')
    for base in (root, root / 'database'):
        if (base / 'training').is_dir():
            return _find_official(base, splits_file)
    if (root / CASES_NAME).is_file():
        return _find_flat(root, splits_file)
    raise UserError(f'{root} is no ACDC folder', expected=LAYOUTS, fix='correct --source')


def read_info(path: Path) -> dict[str, str]:
    """Read an Info.cfg, whose lines are like 'ED: 1' or 'Group: DCM'.

    Args:
        path: The file.

    Returns:
        Key to value, at least 'ED' and 'ES' as positive whole numbers in text.

    Raises:
        UserError: The file cannot be read, or ED or ES is missing or no frame number.
    """
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read ({error})') from error
    pairs = (line.split(':', 1) for line in lines if ':' in line)
    info = {key.strip(): value.strip() for key, value in pairs}
    for phase in PHASES:
        if not _is_frame_number(info.get(phase, '')):
            raise UserError(f'{path} has no frame number for {phase}', expected=f'a line such as "{phase}: 1"')
    return info


def _find_official(base: Path, splits_file: str | os.PathLike | None) -> Source:
    folders = {part: _patient_folders(base / part) for part in ('training', 'testing')}
    if not folders['training'] and not folders['testing']:
        raise UserError(f'{base} holds no patient folders', expected=LAYOUTS, fix='correct --source')
    twice = sorted({folder.name for folder in folders['training']} & {folder.name for folder in folders['testing']})
    if twice:
        raise UserError(
            f'{twice[0]} is in training/ and in testing/ of {base}',
            expected='every patient in one of them',
            fix='remove one of the two, so that no patient is both learned from and tested on',
        )
    patients = folders['training'] + folders['testing']
    split_of = None if splits_file is None else read_splits(splits_file, ACDC)
    infos, problems = {}, []
    for folder in patients:
        if split_of is None or folder.name in split_of:
            try:
                infos[folder] = read_info(folder / 'Info.cfg')
            except UserError as error:
                problems.append(Problem(folder.name, str(error)))
    if split_of is None:
        group_of = {folder.name: infos[folder].get('Group', '') for folder in folders['training'] if folder in infos}
        validation = draw_validation(group_of, math.ceil(VALIDATION_FRACTION * len(group_of)), VALIDATION_SEED)
        split_of = {folder.name: 'test' for folder in folders['testing']}
        split_of |= {folder.name: 'train' for folder in folders['training']}
        split_of |= dict.fromkeys(validation, 'validation')
        rule = (
            f'testing/ is test; of training/, {len(validation)} patients drawn evenly from the groups with seed '
            f'{VALIDATION_SEED} are validation ({", ".join(validation)}), the others train'
        )
    else:
        rule = f'listed in {Path(splits_file).name}'
    subjects = []
    for folder, info in infos.items():
        try:
            subjects.append(_official_subject(folder, info, split_of[folder.name]))
        except UserError as error:
            problems.append(Problem(folder.name, str(error)))
    names = [folder.name for folder in patients]
    return _source('official ACDC tree, all frames of the 4-D files', rule, subjects, problems, names, split_of)


def _official_subject(folder: Path, info: Mapping[str, str], split: str) -> SourceSubject:
    name = folder.name
    series = _nifti(folder / f'{name}_4d')
    frames = []
    for phase in PHASES:
        index = int(info[phase])
        labels = _nifti(folder / f'{name}_frame{index:02d}_gt')
        frames.append(SourceFrame(index, phase, series, index - 1, labels))
    return SourceSubject(name, split, info.get('Group', ''), series, _in_order(frames))


def _find_flat(root: Path, splits_file: str | os.PathLike | None) -> Source:
    if splits_file is None:
        nearby = [folder / SPLITS_NAME for folder in (root, root.resolve().parent)]
        splits_file = next((path for path in nearby if path.is_file()), None)
    if splits_file is None:
        raise UserError(
            f'there is no {SPLITS_NAME} in {root} or the folder above it',
            expected=f'JSON such as {SPLITS_EXAMPLE}',
            fix='name it with --splits FILE',
        )
    split_of = read_splits(splits_file, ACDC)
    rows = _read_cases(root / CASES_NAME)
    subjects, problems = [], []
    for name, phases in rows.items():
        if name not in split_of:
            continue
        try:
            if set(phases) != set(PHASES):
                raise UserError(f'{CASES_NAME} has only {", ".join(phases)}', expected='a row for ED and one for ES')
            frames = _in_order([_flat_frame(root / name, phase, row) for phase, row in phases.items()])
        except UserError as error:
            problems.append(Problem(name, str(error)))
            continue
        subjects.append(SourceSubject(name, split_of[name], phases['ED']['group'], None, frames))
    rule = f'listed in {Path(splits_file).name}'
    return _source('flat ACDC folder, ED and ES frames', rule, subjects, problems, list(rows), split_of)


def _flat_frame(folder: Path, phase: str, row: Mapping[str, str]) -> SourceFrame:
    if not _is_frame_number(row['frame']):
        raise UserError(f'{CASES_NAME} gives frame {row["frame"]!r} for {phase}', expected='a number from 1 on')
    image, labels = _nifti(folder / f'image_{phase}'), _nifti(folder / f'seg_{phase}')
    return SourceFrame(int(row['frame']), phase, image, None, labels)


def _read_cases(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Read cases.csv into patient -> phase -> row."""
    try:
        # Spreadsheets put a byte order mark in front, as some editors do.
        with path.open(newline='', encoding='utf-8-sig') as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f'{path} cannot be read ({error})') from error
    if not rows or any(row.get(column) is None for row in rows for column in CASES_COLUMNS):
        raise UserError(f'{path} lacks rows or columns', expected=f'the columns {", ".join(CASES_COLUMNS)}')
    cases: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        phases = cases.setdefault(row['patient'], {})
        if row['phase'] not in PHASES or row['phase'] in phases:
            raise UserError(
                f'{path} has an unknown or second phase {row["phase"]!r} for {row["patient"]}',
                expected='one row with phase ED and one with phase ES per patient',
            )
        phases[row['phase']] = row
    return cases


def _source(layout: str, rule: str, subjects: list, problems: list, names: list[str], split_of: Mapping) -> Source:
    absent = sorted(set(split_of) - set(names))
    problems = problems + [Problem(name, 'it is listed in the splits but not in the source') for name in absent]
    return Source(
        dataset=ACDC,
        layout=layout,
        split_rule=rule,
        label_convention=LABEL_CONVENTION,
        classes=CLASSES,
        subjects=tuple(sorted(subjects, key=lambda subject: subject.id)),
        problems=tuple(problems),
        unused=len(set(names) - set(split_of)),
    )


def _patient_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob('patient*') if path.is_dir())


def _nifti(stem: Path) -> Path:
    """Return the file `stem`.nii.gz or `stem`.nii."""
    for suffix in ('.nii.gz', '.nii'):
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    raise UserError(f'there is no file {stem}.nii.gz')


def _in_order(frames: list[SourceFrame]) -> tuple[SourceFrame, ...]:
    if len({frame.index for frame in frames}) < len(frames):
        raise UserError(f'two phases share frame {frames[0].index}', expected='ED and ES at different frames')
    return tuple(sorted(frames, key=lambda frame: frame.index))


def _is_frame_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= LONGEST_NUMBER and int(text) >= 1
