"""Weights that come with the package, found by name."""

from pathlib import Path

from autofuse_jax.errors import UserError

SUFFIX = '.npz'
PACKAGE = Path(__file__).resolve().parents[1]
# Where an installed package has them, and where a clone of the repository has.
FOLDERS = (PACKAGE / 'shipped_weights', PACKAGE.parent / 'weights')


def known_weights(folders: tuple[Path, ...] = FOLDERS) -> tuple[str, ...]:
    """Return the names of the weights that come with the package, sorted.

    Args:
        folders: Folders to look in; default where the package has them.
    """
    return tuple(sorted({path.stem for folder in folders for path in folder.glob(f'*{SUFFIX}')}))


def weights_file(source: str | Path, folders: tuple[Path, ...] = FOLDERS) -> Path:
    """Return the file of weights that a user names.

    Args:
        source: A path, which is returned as it is, or the name of weights that come with the package: a single word
            without suffix that is no file or folder.
        folders: Folders to look in; default where the package has them.

    Returns:
        The path of an npz, or the path that was given.

    Raises:
        UserError: It is a name, and there are no such weights.
    """
    path = Path(source)
    if path.suffix or len(path.parts) != 1 or path.exists():
        return path
    for folder in folders:
        if (folder / f'{source}{SUFFIX}').is_file():
            return folder / f'{source}{SUFFIX}'
    known_names = known_weights(folders)
    raise UserError(
        f'there are no weights {str(source)!r}',
        expected=f'one of {", ".join(known_names)}, or the path of an npz' if known_names else 'the path of an npz',
        fix='correct the name, or name a file',
    )
