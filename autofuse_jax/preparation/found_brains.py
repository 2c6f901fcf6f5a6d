"""What the readers of brain data sets find: images and label maps by subject, before splits are made."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from autofuse_jax.data.formats import KNOWN_SUFFIXES, LABELS_KEY, is_npz, npz_names
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.persons import is_visit
from autofuse_jax.preparation.sources import Problem

# More names than these are counted.
SHOWN_NAMES = 8
# Folder of a subject's volumes in FreeSurfer, and the images in it of the brain alone, in order of preference.
FREESURFER_FOLDER = 'mri'
FREESURFER_IMAGES = ('norm', 'brain', 'brainmask')
ONE_NAME = 'rename one of them, or prepare the folders one by one'


@dataclasses.dataclass(frozen=True)
class FoundBrain:
    """One image of a source.

    Attributes:
        id: Unique name.
        image: File of the image.
        labels: File of the label map, or None; an npz image may hold its own.
        split: Split that the layout itself names, or None.
    """

    id: str
    image: Path
    labels: Path | None
    split: str | None = None

    def labels_file(self) -> Path | None:
        """Return the file that holds the label map: its own, or an npz image with labels; None where there is none."""
        if self.labels is None and is_npz(self.image) and LABELS_KEY in npz_names(self.image):
            return self.image
        return self.labels


@dataclasses.dataclass(frozen=True)
class FoundBrains:
    """A source, listed but not read.

    Attributes:
        layout: Arrangement of the files, in words.
        brains: Brains in order of their ids.
        problems: Subjects whose files are incomplete.
        pairs: (fixed, moving) ids that the source lists for evaluation.
        prepared: Whether the images are on a common grid already.
        remarks: Sentences about what was not taken as the names of files suggest.
    """

    layout: str
    brains: tuple[FoundBrain, ...]
    problems: tuple[Problem, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    prepared: bool = False
    remarks: tuple[str, ...] = ()


def image_files(folder: Path) -> list[Path]:
    """Return the image files directly in a folder, hidden ones left out, in order of their names."""
    return sorted(path for path in folder.iterdir() if _is_image(path))


def image_files_below(folder: Path) -> list[Path]:
    """Return the image files anywhere below a folder, those that are hidden or in hidden folders left out, in order of
    their paths.
    """
    return sorted(path for path in folder.rglob('*') if _is_image(path) and not in_hidden_folder(path, folder))


def in_hidden_folder(path: Path, root: Path) -> bool:
    """Tell whether a folder between is hidden, such as those of git-annex for contents and of servers for snapshots.

    Args:
        path: A file or folder.
        root: The folder that it is below, or itself.
    """
    return any(part.startswith('.') for part in path.relative_to(root).parts[:-1])


def unused_links(root: Path, brains: Iterable[FoundBrain]) -> list[str]:
    """Say which links below a folder were left out: those of images that lead nowhere, as git-annex and copies leave
    them, and those to folders, which are not entered.

    Args:
        root: The folder.
        brains: What was found in it; a folder with one of these files was entered.

    Returns:
        A sentence for either; none where there are no such links.
    """
    lost: list[str] = []
    folders: set[Path] = set()
    for place, names, files in os.walk(root):
        # What is hidden is left out anyhow.
        names[:] = [name for name in names if not name.startswith('.')]
        folders |= {path for name in names if (path := Path(place, name)).is_symlink()}
        images = (name for name in files if name.lower().endswith(KNOWN_SUFFIXES) and not name.startswith('.'))
        lost += [os.path.relpath(path, root) for name in images if not (path := Path(place, name)).exists()]
    for brain in brains:
        for path in (brain.image, brain.labels):
            folders -= set(() if path is None else path.parents)
    entered = sorted(os.path.relpath(path, root) for path in folders)
    return [
        f'{what}: {some(names)}'
        for what, names in (
            ('links that lead nowhere were left out, fetch their content', sorted(lost)),
            ('links to folders were not entered', entered),
        )
        if names
    ]


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f' and {len(names) - SHOWN_NAMES} more' if len(names) > SHOWN_NAMES else ''
    return ', '.join(names[:SHOWN_NAMES]) + more


def first_file(folder: Path, stems: Iterable[str]) -> Path | None:
    """Return the first file in a folder that has one of the names, each with any known suffix, or None.

    A file of just these letters comes before one with other capitals.
    """
    if not folder.is_dir():
        return None
    files = {path.name.lower(): path for path in image_files(folder)}
    for stem in stems:
        for suffix in KNOWN_SUFFIXES:
            path = folder / f'{stem}{suffix}'
            if path.is_file():
                return path
            if path.name.lower() in files:
                return files[path.name.lower()]
    return None


def names_below(root: Path, paths: Sequence[Path], shorts: Sequence[str]) -> list[str]:
    """Return a name for each image: the short one, after the folders below the root where that alone does not tell.

    That is where others have it too, and where it is that of a visit: 'session_2' may be there once and still is
    somebody's.

    Args:
        root: Folder that all paths are below.
        paths: The file or the folder that each image is called after.
        shorts: Short name of each, the last part of its path without suffix.

    Returns:
        The names, such as 's1-session_1' for s1/session_1.
    """
    counts = Counter(shorts)
    return [
        short if counts[short] == 1 and not is_visit(short) else '-'.join([*path.relative_to(root).parts[:-1], short])
        for path, short in zip(paths, shorts, strict=True)
    ]


def in_order(brains: Iterable[FoundBrain], root: Path) -> tuple[FoundBrain, ...]:
    """Sort brains by id.

    Raises:
        UserError: Two have the same id.
    """
    ordered = sorted(brains, key=lambda brain: brain.id)
    for one, other in _neighbours(ordered):
        if one.id == other.id:
            raise UserError(
                f'{root} holds two images of the name {one.id} ({one.image} and {other.image})',
                fix=ONE_NAME,
            )
    return tuple(ordered)


def _neighbours(items: Sequence[FoundBrain]) -> Iterator[tuple[FoundBrain, FoundBrain]]:
    return zip(items, items[1:], strict=False)


def _is_image(path: Path) -> bool:
    return not path.name.startswith('.') and path.name.lower().endswith(KNOWN_SUFFIXES) and path.is_file()
