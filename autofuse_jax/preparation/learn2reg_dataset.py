"""Reading the `dataset.json` of a Learn2Reg task: training images with their label maps, and the pairs to register."""

from pathlib import Path
from typing import Any

from autofuse_jax.data.formats import stem_of
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.found_brains import FoundBrain, FoundBrains, in_order
from autofuse_jax.preparation.label_words import FIRST_CHANNEL
from autofuse_jax.preparation.sources import Problem
from autofuse_jax.records.forms import Entries, Fields, OneOf, Table, Text
from autofuse_jax.records.reading import read_json

JSON_PATTERNS = ('dataset.json', '*_dataset.json')
# List of pairs in the file: the split of its subjects.
PAIR_LISTS = {'registration_val': 'validation', 'registration_test': 'test'}
IMAGES = Entries(Fields({'image': Text()}, {'label': Text()}))
PAIRS = Entries(Fields({'fixed': Text(), 'moving': Text()}))
DATASET = Fields({}, {'training': OneOf((IMAGES, Table(IMAGES)))} | dict.fromkeys(PAIR_LISTS, PAIRS))
# Folder of images: folder of the label maps of the same names.
LABEL_FOLDERS = {'imagesTr': 'labelsTr', 'imagesTs': 'labelsTs', 'imagesVal': 'labelsVal'}


def find_learn2reg(root: Path) -> FoundBrains | None:
    """List the subjects of a Learn2Reg folder.

    Subjects of `registration_val` are validation, those of `registration_test` are test, all others train.

    Args:
        root: The folder.

    Returns:
        The source; None where there is no `dataset.json` or `NAME_dataset.json`.

    Raises:
        UserError: The file cannot be read or is not of that form.
    """
    described = {path for pattern in JSON_PATTERNS for path in root.glob(pattern)}
    # Beside each file that macOS copies it writes a hidden one, '._dataset.json'.
    files = sorted(path for path in described if not path.name.startswith('.'))
    if not files:
        return None
    if len(files) > 1:
        raise UserError(
            f'{root} holds several data set files ({", ".join(path.name for path in files)})', fix='keep one'
        )
    path = files[0]
    expected = 'a Learn2Reg file with "training": [{"image": ..., "label": ...}] and "registration_val" pairs'
    content = read_json(path, DATASET, misfit='is not of the expected form', expected=expected)
    images, split_of, pairs = _read_content(content)
    brains, problems = [], []
    for name, label_name in images.items():
        image = _image_file(root / name)
        labels = _label_file(root, name) if label_name is None else root / label_name
        subject = stem_of(root / name)
        absent = [file for file in (image, labels) if file is not None and not file.is_file()]
        if absent:
            problems.append(Problem(subject, f'{path.name} lists {absent[0]}, which does not exist'))
        else:
            brains.append(FoundBrain(subject, image, labels, split_of.get(name, 'train')))
    id_pairs = tuple((stem_of(Path(fixed)), stem_of(Path(moving))) for fixed, moving in pairs)
    return FoundBrains(f'Learn2Reg {path.name}', in_order(brains, root), tuple(problems), id_pairs)


def _read_content(content: dict[str, Any]) -> tuple[dict[str, str | None], dict[str, str], list[tuple[str, str]]]:
    """Return image to label map, image to split, and (fixed, moving) images."""
    images: dict[str, str | None] = {}
    split_of: dict[str, str] = {}
    pairs = []
    for entry in _entries(content.get('training', [])):
        images[_tidy(entry['image'])] = _tidy(entry['label']) if 'label' in entry else None
    for key, split in PAIR_LISTS.items():
        for pair in content.get(key, []):
            fixed, moving = _tidy(pair['fixed']), _tidy(pair['moving'])
            pairs.append((fixed, moving))
            for name in (fixed, moving):
                split_of.setdefault(name, split)
                images.setdefault(name, None)
    return images, split_of, pairs


def _entries(training: Any) -> list[dict[str, str]]:
    """Return the entries of `training`, which are a list, or lists by modality."""
    if isinstance(training, dict):
        return [entry for entries in training.values() for entry in entries]
    return training


def _image_file(path: Path) -> Path:
    """The file of an image, which nnU-Net lists without the number of its first channel."""
    stem = stem_of(path)
    channel = path.with_name(f'{stem}{FIRST_CHANNEL}{path.name.removeprefix(stem)}')
    return channel if channel.is_file() and not path.is_file() else path


def _label_file(root: Path, image: str) -> Path | None:
    parts = Path(image).parts
    if len(parts) < 2 or parts[0] not in LABEL_FOLDERS:
        return None
    path = root.joinpath(LABEL_FOLDERS[parts[0]], *parts[1:])
    return path if path.is_file() else None


def _tidy(name: str) -> str:
    """Return a path such as './imagesTr/a.nii.gz' as 'imagesTr/a.nii.gz'."""
    return Path(name).as_posix()
