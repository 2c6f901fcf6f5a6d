"""Folders of results that take the place of others: written aside, then exchanged, so that one of both is always whole.

Where the folder itself cannot be exchanged, because a disk begins at it, because somebody works inside it or because
other files of the user lie around the results, the complete results wait inside it under a name that says so, and move
to their places one by one. A process that ends meanwhile loses nothing: the next one carries on.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from autofuse_jax.storage.ready import declare_ready, finish_inside, move_in, paths_inside
from autofuse_jax.storage.temporary import (
    REPLACED_PREFIX,
    TEMPORARY_PREFIX,
    is_temporary,
    leftovers_of,
    make_temporary_folder,
    remove_leftovers_of,
    temporary_path,
)

# Arguments of renameat2(2).
WORKING_FOLDER, EXCHANGE = -100, 2
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


@contextlib.contextmanager
def replacing_folder(
    folder: str | os.PathLike, last: str, *, earlier: Collection[Path] = (), in_place: bool = False
) -> Iterator[Path]:
    """Yield a temporary folder whose files are those of `folder` when the block ends without an error.

    Args:
        folder: Folder of the results; made if missing. What it holds is untouched until the new results are complete.
        last: Name of the file that marks the results as complete.
        earlier: Files of earlier results in it, which go with them; other files stay, unless a new one has their name.
        in_place: Whether the folder itself stays, as where it holds much else; default False.

    Yields:
        The folder to write to, on the same disk.

    Raises:
        OSError: The folder cannot be written or the disk is full; it is then as it was.
    """
    folder = Path(folder).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if in_place:
        _finish(folder)
    inside = folder.is_dir() and (in_place or not _can_be_exchanged(folder))
    temporary = make_temporary_folder(folder, folder if inside else folder.parent)
    try:
        yield temporary
        if inside:
            names = {path.relative_to(folder) for path in paths_inside(folder, earlier)}
            # A new file takes the place of an earlier one of its name.
            removed = sorted(str(name) for name in names if not os.path.lexists(temporary / name))
            move_in(declare_ready(temporary, folder, last, removed), folder)
        else:
            _take_along(folder, temporary, paths_inside(folder, earlier))
            _exchange(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(folder: str | os.PathLike) -> None:
    """Finish or undo what ended processes left of `replacing_folder`, and remove what they began to write.

    To be called by the process that holds the folder's lock, before it looks at what there is.

    Args:
        folder: The folder of the results.
    """
    folder = Path(folder).resolve()
    _finish(folder)
    replaced = leftovers_of(folder, REPLACED_PREFIX)
    if replaced and not folder.exists():
        # Ended between two renames: nothing has taken the place of these results.
        os.rename(replaced.pop(), folder)
    for rest in replaced:
        shutil.rmtree(rest, ignore_errors=True)
    remove_leftovers_of(folder)


def _finish(folder: Path) -> None:
    """Move results in that were complete, and remove others that lie in a folder itself."""
    finish_inside(folder)
    for begun in leftovers_of(folder, TEMPORARY_PREFIX, folder):
        shutil.rmtree(begun, ignore_errors=True)


def _can_be_exchanged(folder: Path) -> bool:
    """Whether a folder may be renamed: no disk begins at it, nobody stands in it, its own folder may be written to."""
    place = folder.parent
    if os.path.ismount(folder) or folder in (Path.cwd(), *Path.cwd().parents) or not os.access(place, os.W_OK):
        return False
    return folder.stat().st_dev == place.stat().st_dev


def _take_along(folder: Path, new: Path, earlier: set[Path]) -> None:
    """Link or copy into new results what lay beside the earlier ones, and is not replaced."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_temporary(Path(name))]
        links = [name for name in folders if Path(place, name).is_symlink()]
        if not folders and not files:
            (new / Path(place).relative_to(folder)).mkdir(parents=True, exist_ok=True)
        for name in [*files, *links]:
            path = Path(place, name)
            target = new / path.relative_to(folder)
            if path in earlier or is_temporary(path) or os.path.lexists(target):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target, follow_symlinks=False)
            except OSError:
                # Not every file system has links.
                shutil.copy2(path, target, follow_symlinks=False)


def _exchange(new: Path, folder: Path) -> None:
    """Give a folder's name to new results, and remove those that had it."""
    if not folder.exists():
        os.rename(new, folder)
        return
    new.chmod(folder.stat().st_mode & 0o7777)
    if _rename_both(new, folder):
        # The temporary name is now that of the earlier results, which the caller removes.
        return
    replaced = temporary_path(folder, REPLACED_PREFIX)
    os.rename(folder, replaced)
    try:
        os.rename(new, folder)
    except BaseException:
        os.rename(replaced, folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _rename_both(one: Path, other: Path) -> bool:
    """Exchange two names at once; False where the system or the file system cannot."""
    if not sys.platform.startswith('linux'):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if rename is None:
        return False
    if rename(WORKING_FOLDER, os.fsencode(one), WORKING_FOLDER, os.fsencode(other), EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))
