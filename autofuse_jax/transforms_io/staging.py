"""Writing several files all or none: under temporary names first, renamed when everything has succeeded."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from autofuse_jax.errors import UserError
from autofuse_jax.files import claim_folder
from autofuse_jax.storage.locks import locked
from autofuse_jax.storage.ready import finish_inside, publish_together
from autofuse_jax.storage.temporary import READY_PREFIX, leftovers_of, make_temporary_folder, remove_leftovers_of


class Staging:
    """Files that appear together. Made by `staging`."""

    def __init__(self, overwrite: bool):
        self._overwrite = overwrite
        # Hidden folder by the folder it lies in, and those folders that had to be made.
        self._folders: dict[Path, Path] = {}
        self._made: list[Path] = []
        self._claimed: dict[str, str] = {}

    def claim(self, path: Path, source: str) -> None:
        """Check before any work that a file may be written.

        Args:
            path: The file.
            source: File it is made of, for the message.

        Raises:
            UserError: It exists and may not be replaced, or two results would get the same name.
        """
        # Unlike the path's own method, it takes a link that leads to itself for a name.
        key = os.path.realpath(path)
        if key in self._claimed:
            raise UserError(
                f'{self._claimed[key]} and {source} would both be written to {path}',
                fix='rename one of them, or use two --out folders',
            )
        claim_folder(path.parent, continues=True)
        remove_leftovers_of(path)
        folder = path.parent.resolve()
        if leftovers_of(folder, READY_PREFIX, folder):
            # One that was killed between two renames had finished its work.
            with locked(folder):
                finish_inside(folder)
        if path.is_dir():
            raise UserError(f'{path} is a folder', expected='a file name for a result', fix='correct the name')
        if path.exists() and not self._overwrite:
            raise UserError(f'{path} exists', fix='name another --out folder, or add --overwrite to replace it')
        self._claimed[key] = source

    def temporary(self, path: Path) -> Path:
        """Return where a claimed file is written before it moves to its place: the same name in a hidden folder."""
        folder = path.parent.resolve()
        if folder not in self._folders:
            if not folder.exists():
                folder.mkdir(parents=True)
                self._made.append(folder)
            self._folders[folder] = make_temporary_folder(path, folder)
        return self._folders[folder] / path.name

    def publish(self) -> None:
        """Rename every file that was written to its name; where that is interrupted, the next command carries on."""
        results = {}
        for folder, hidden in self._folders.items():
            names = sorted(file.name for file in hidden.iterdir())
            if names:
                results[folder] = hidden, names[-1]
        if results:
            publish_together(results)

    def discard(self) -> None:
        """Remove the hidden folders with whatever is still in them, and folders made for nothing."""
        for hidden in self._folders.values():
            shutil.rmtree(hidden, ignore_errors=True)
        for folder in self._made:
            if not any(folder.iterdir()):
                folder.rmdir()


@contextlib.contextmanager
def staging(overwrite: bool) -> Iterator[Staging]:
    """Yield a `Staging`; its files appear when the block ends without an error, and none of them otherwise.

    Args:
        overwrite: Whether existing files may be replaced.
    """
    stage = Staging(overwrite)
    try:
        yield stage
        stage.publish()
    finally:
        stage.discard()
