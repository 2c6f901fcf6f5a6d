"""Opening the data set that a config asks for."""

import os

from autofuse_jax.data.manifests import Manifest, read_manifest
from autofuse_jax.data.phantom import make_phantom_dataset
from autofuse_jax.errors import UserError

DATA_SOURCES = ('prepared', 'phantom')


def open_dataset(source: str, root: str | os.PathLike, phantom: dict) -> Manifest:
    """Open a prepared data set, or make the phantom data set.

    Args:
        source: 'prepared' reads the manifest in `root`; 'phantom' makes (or finds again) synthetic subjects there.
        root: Folder of the data.
        phantom: Keyword arguments of `make_phantom_dataset`.

    Returns:
        The manifest.

    Raises:
        UserError: The source is unknown or the root is empty or no prepared data set.
    """
    if source not in DATA_SOURCES:
        raise UserError(f'data.source is {source!r}', expected=f'one of {", ".join(DATA_SOURCES)}')
    if not root:
        raise UserError(
            'data.root is empty',
            expected='the folder that `python -m autofuse_jax.prepare` wrote',
            fix='add --config.data.root=FOLDER',
        )
    return read_manifest(root) if source == 'prepared' else make_phantom_dataset(root, **phantom)
