"""Reading the data of the official AutoFuse code: npz files (`vol`, `seg`) and lists of pairs in `*_pairs.npy`.

The lists are read without unpickling: arrays of text or of bytes are fine, arrays of Python objects are refused.
"""

import os
from pathlib import Path, PurePosixPath

import numpy as np

from autofuse_jax.data.formats import COPY_AGAIN, DAMAGED_FILE_ERRORS, NPZ_SUFFIX, stem_of
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.found_brains import FoundBrain, FoundBrains, image_files, in_order

PAIRS_PATTERN = '*pairs*.npy'
# Part of a list's file name: the split of the subjects in it.
SPLIT_WORDS = {'train': 'train', 'val': 'validation', 'test': 'test'}
PICKLE_WORDS = 'allow_pickle'


def find_npz_with_pairs(root: Path) -> FoundBrains | None:
    """List the npz files of a folder and the pairs of its lists.

    Subjects of a list with 'val' in its name are validation, with 'test' test, all others train. Pairs of training
    lists are not kept: training draws its own.

    Args:
        root: Folder with npz files and at least one `*_pairs.npy`, side by side or one folder apart.

    Returns:
        The source; None where there is no list of pairs.

    Raises:
        UserError: A list cannot be read, a subject is in two splits, two files have one name, or a list names a file
            that is not there.
    """
    # What is hidden is left out, such as snapshots and what macOS writes beside each file, '._val_pairs.npy'.
    folders = [root, *(path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith('.'))]
    lists = sorted(path for folder in folders for path in folder.glob(PAIRS_PATTERN) if not path.name.startswith('.'))
    if not lists:
        return None
    files = [path for folder in folders for path in image_files(folder)]
    archives = [FoundBrain(stem_of(path), path, None) for path in files if path.name.lower().endswith(NPZ_SUFFIX)]
    # Lists name files without their folders, so that two of one name cannot be told apart.
    image_of = {brain.id: brain.image for brain in in_order(archives, root)}
    split_of: dict[str, tuple[str, str]] = {}
    pairs: list[tuple[str, str]] = []
    for path in lists:
        split = next((split for word, split in SPLIT_WORDS.items() if word in path.name.lower()), 'test')
        name_pairs = read_pairs(path)
        for name in sorted({name for pair in name_pairs for name in pair}):
            if name not in image_of:
                raise UserError(f'{path} names {name}, but there is no {name}.npz', fix='copy the data completely')
            first_split, where = split_of.setdefault(name, (split, path.name))
            if first_split != split:
                raise UserError(
                    f'{name} is in {where} and in {path.name}',
                    expected='no subject that is both learned from and tested on',
                    fix='take the list that is not wanted out of the folder',
                )
        if split != 'train':
            pairs += name_pairs
    brains = [
        FoundBrain(name, path, None, split_of[name][0] if name in split_of else 'train')
        for name, path in image_of.items()
    ]
    names = ', '.join(path.name for path in lists)
    layout = f'npz files of the official code with {names}'
    return FoundBrains(layout, in_order(brains, root), (), tuple(dict.fromkeys(pairs)), prepared=True)


def read_pairs(path: str | os.PathLike) -> list[tuple[str, str]]:
    """Read a list of pairs.

    Args:
        path: A .npy file of shape (N, 2): fixed and moving file names, as text or as bytes.

    Returns:
        (fixed, moving) names without folder and suffix.

    Raises:
        UserError: The file is damaged, holds Python objects, or is not of that form.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except DAMAGED_FILE_ERRORS as error:
        if PICKLE_WORDS in str(error):
            name = Path(path).name
            raise UserError(
                f'{path} holds Python objects, which can run any program when they are read',
                expected='an array of text',
                fix='if you trust the file, convert it once: python -c "import numpy as np; '
                f"np.save('{name}', np.load('{name}', allow_pickle=True).astype(str))\"",
            ) from error
        raise UserError(f'{path} cannot be read ({error})', fix=COPY_AGAIN) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in 'SU':
        contents = f'{array.dtype} {array.shape}' if isinstance(array, np.ndarray) else 'no single array'
        raise UserError(f'{path} holds {contents}', expected='text of shape (N, 2): fixed and moving file names')
    try:
        names = np.char.decode(array, 'utf-8') if array.dtype.kind == 'S' else array
    except UnicodeDecodeError as error:
        raise UserError(f'{path} holds names that are no UTF-8 ({error})', fix='write the list as text') from error
    return [(_subject(fixed), _subject(moving)) for fixed, moving in names.tolist()]


def _subject(name: str) -> str:
    return PurePosixPath(name.replace('\\', '/')).name.removesuffix(NPZ_SUFFIX)
