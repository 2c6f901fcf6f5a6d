"""Folders of displacement fields in the layout of Learn2Reg, with the data set that they belong to.

The data set is described by `NAME_dataset.json`, whose lists of pairs name `imagesTr/NAME_CASE_MODALITY.nii.gz`; label
maps and landmarks have the same names in `labelsTr`, `landmarksTr` or `keypointsTr`. The field of a pair is
`disp_FIXED_MOVING.nii.gz` or .npz, or with modalities `disp_FIXED_MODALITY_MOVING_MODALITY`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.formats import DAMAGED_FILE_ERRORS, load_array, load_npz
from autofuse_jax.data.volumes import read_labels
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_data import PairData
from autofuse_jax.evaluation.runs import Case, Run, Sources, no_pairs
from autofuse_jax.records.reading import read_json

FIELD_PATTERN = 'disp_*'
FIELD_SUFFIXES = ('.nii.gz', '.npz')
FIELD_KEY = 'arr_0'
DATASET_PATTERN = '*dataset.json'
# The first of these lists with a field in the folder is the one that is evaluated.
PAIR_LISTS = ('registration_val', 'registration_test', 'eval_pairs')
# Landmarks set by people come before those found by a program.
LANDMARK_FOLDERS = ('landmarks', 'keypoints')
IMAGES = 'images'
IMAGE_SUFFIX = '.nii.gz'


def has_fields(folder: Path) -> bool:
    """Tell whether a folder holds displacement fields under the names of Learn2Reg."""
    return any(path.name.endswith(FIELD_SUFFIXES) for path in folder.glob(FIELD_PATTERN))


def open_fields(folder: Path, name: str, sources: Sources) -> Run:
    """Open a folder of displacement fields.

    Args:
        folder: Folder of the fields.
        name: Name in tables.
        sources: `dataset_json` or, where it is None, the only `*dataset.json` in `data` or in the folder; images,
            labels and landmarks are in `data`, or beside the JSON.

    Returns:
        The run.

    Raises:
        UserError: The data set, a field of the list, a label map or a list of landmarks is missing.
    """
    described = sources.dataset_json or _find_dataset(folder, sources.data)
    root = sources.data or described.parent
    content = _read_dataset(described)
    pairs, list_name = _pairs(content, described, folder)
    cases = [_case(pair, folder, root) for pair in pairs]
    notes = [f'Pairs are those of {list_name} in {described.name}; displacements relate array indices.']
    landmark_folders = sorted({case.facts['landmark_folder'] for case in cases if 'landmark_folder' in case.facts})
    if landmark_folders:
        notes.append(f'Landmarks are those in {", ".join(landmark_folders)}.')
    return Run(name, folder, 'Learn2Reg fields', tuple(cases), {}, tuple(notes))


def _find_dataset(folder: Path, data: Path | None) -> Path:
    for place in [data, folder] if data is not None else [folder]:
        descriptions = sorted(place.glob(DATASET_PATTERN))
        if len(descriptions) == 1:
            return descriptions[0]
        if descriptions:
            raise UserError(
                f'{place} has several descriptions of data sets: {", ".join(path.name for path in descriptions)}',
                fix='choose one with --dataset-json',
            )
    raise UserError(
        f'{folder} holds displacement fields, but there is no {DATASET_PATTERN} that says which pairs they belong to',
        fix='add --dataset-json=FILE, or --data=FOLDER with that file in it',
    )


def _read_dataset(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError(
            f'there is no file {path}', expected='the NAME_dataset.json of Learn2Reg', fix='correct --dataset-json'
        )
    content = read_json(path)
    if not isinstance(content, dict) or not any(key in content for key in PAIR_LISTS):
        raise UserError(f'{path} lists no pairs', expected=f'one of the fields {", ".join(PAIR_LISTS)}')
    return content


def _pairs(content: Mapping[str, Any], described: Path, folder: Path) -> tuple[list[dict[str, str]], str]:
    for key in PAIR_LISTS:
        pairs = content.get(key) or []
        if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
            raise UserError(f'{key} in {described} is no list of pairs', expected='entries with "fixed" and "moving"')
        missing = [pair for pair in pairs if _field(pair, folder) is None]
        if not missing and pairs:
            return pairs, key
        if len(missing) < len(pairs):
            raise UserError(
                f'{folder} has no {" or ".join(_field_names(missing[0]))} ({len(missing)} of {len(pairs)} pairs of '
                f'{key} in {described.name} have no field)',
                expected=f'a field ({", ".join(FIELD_SUFFIXES)}) for every pair of the list',
                fix='write the missing fields, or remove the pairs from the list',
            )
    raise no_pairs(
        folder,
        f'fields named disp_FIXED_MOVING for the pairs listed in {described}',
        'check that --dataset-json describes the data set of these fields',
    )


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(role), str) for role in ('fixed', 'moving'))


def _ids(file: str) -> tuple[str, str]:
    """Case and modality from NAME_CASE_MODALITY.nii.gz."""
    parts = Path(file).name.removesuffix(IMAGE_SUFFIX).split('_')
    if len(parts) < 3:
        raise UserError(
            f'the image {file} is not named as Learn2Reg names images', expected='NAME_CASE_MODALITY.nii.gz'
        )
    return parts[-2], parts[-1]


def _field_names(pair: Mapping[str, str]) -> list[str]:
    fixed, moving = _ids(pair['fixed']), _ids(pair['moving'])
    return [f'disp_{fixed[0]}_{moving[0]}', f'disp_{fixed[0]}_{fixed[1]}_{moving[0]}_{moving[1]}']


def _field(pair: Mapping[str, str], folder: Path) -> Path | None:
    candidates = [folder / (stem + suffix) for stem in reversed(_field_names(pair)) for suffix in FIELD_SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def _case(pair: Mapping[str, str], folder: Path, root: Path) -> Case:
    field = _field(pair, folder)
    images = [root / pair[role] for role in ('fixed', 'moving')]
    labels = _beside(images, root, 'labels', IMAGE_SUFFIX)
    landmarks = next(filter(None, (_beside(images, root, kind, '.csv') for kind in LANDMARK_FOLDERS)), None)
    facts: dict[str, Any] = {'fixed_file': pair['fixed'], 'moving_file': pair['moving']}
    if landmarks is not None:
        facts['landmark_folder'] = landmarks[0].parent.name
    if labels is None and not all(image.is_file() for image in images):
        absent = next(image for image in images if not image.is_file())
        raise UserError(
            f'there is neither a label map nor the image {absent}', fix='add --data=FOLDER with the data set'
        )
    fixed, moving = (_ids(pair[role]) for role in ('fixed', 'moving'))
    name = f'{"_".join(moving)}_to_{"_".join(fixed)}'
    return Case(name, fixed[0], lambda: _load(field, images, labels, landmarks), facts)


def _beside(images: list[Path], root: Path, kind: str, suffix: str) -> list[Path] | None:
    """Files of another kind that belong to two images; None where the data set has no folder of that kind."""
    files = []
    for image in images:
        place = image.parent.parent / image.parent.name.replace(IMAGES, kind)
        if not place.is_dir():
            return None
        files.append(place / (image.name.removesuffix(IMAGE_SUFFIX) + suffix))
    for file in files:
        if not file.is_file():
            raise UserError(
                f'there is no file {file}',
                expected=f'the {kind} of an image that is listed as a pair',
                fix=f'complete {root}',
            )
    return files


def _load(field: Path, images: list[Path], labels: list[Path] | None, landmarks: list[Path] | None) -> PairData:
    displacement = _read_field(field)
    maps: list[np.ndarray | None] = [None, None]
    affines = []
    for position, image in enumerate(images):
        if labels is not None:
            maps[position], grid = read_labels(labels[position])
        affines.append(load_array(image, 'vol')[1] if image.is_file() else grid.affine)
    if maps[0] is not None and maps[0].shape != displacement.shape[:3]:
        raise UserError(
            f'the label map {labels[0]} is on another grid ({maps[0].shape} voxels) than the field {field.name} '
            f'({displacement.shape[:3]} voxels)',
            expected='a field at the full size of the fixed image',
            fix='resample the field, and scale its vectors with it',
        )
    points = [None, None] if landmarks is None else [read_landmarks(path) for path in landmarks]
    if landmarks is not None and points[0].shape != points[1].shape:
        raise UserError(f'{landmarks[0]} has {len(points[0])} landmarks and {landmarks[1]} {len(points[1])}')
    return PairData(displacement, affines[0], affines[1], np.eye(4), maps[0], maps[1], points[0], points[1])


def _read_field(path: Path) -> np.ndarray:
    if path.name.endswith('.npz'):
        arrays = load_npz(path)
        if FIELD_KEY not in arrays:
            raise UserError(f'{path} holds {", ".join(arrays) or "nothing"}', expected=f'an array named {FIELD_KEY}')
        displacement = arrays[FIELD_KEY]
    else:
        displacement = load_array(path, FIELD_KEY)[0]
    if displacement.ndim != 4 or displacement.shape[-1] != 3:
        raise UserError(
            f'the field {path} has shape {displacement.shape}',
            expected='(D, H, W, 3) at the size of the fixed image',
            fix='move the components to the last axis; resample fields of half resolution and scale their vectors',
        )
    return np.asarray(displacement, np.float64)


def read_landmarks(path: Path) -> np.ndarray:
    """Read landmarks: one line each, three voxel coordinates with commas between them, no header.

    Args:
        path: A CSV file.

    Returns:
        float64 (n, 3).

    Raises:
        UserError: The file is missing, empty, or holds something else.
    """
    try:
        points = np.loadtxt(path, delimiter=',', ndmin=2)
    except DAMAGED_FILE_ERRORS as error:
        raise UserError(f'{path} cannot be read as landmarks ({error})', expected='three numbers a line') from error
    if points.shape[0] == 0 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise UserError(
            f'{path} holds {points.shape[0]} lines of {points.shape[1]} values', expected='three numbers a line'
        )
    return points
