"""Parameters of a training run: the best of its checkpoints, with what is known about them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from autofuse_jax.data.manifests import MANIFEST_NAME, read_manifest
from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from autofuse_jax.porting.convert import flatten, parameter_structure
from autofuse_jax.provenance import provenance
from autofuse_jax.records.run_folder import CONFIG_NAME
from autofuse_jax.training.stored_config import read_config
from autofuse_jax.weights.released import Description


def read_run(source: Path) -> tuple[Mapping[str, np.ndarray], Description]:
    """Read the parameters of a training run.

    Args:
        source: Its folder, or that of its checkpoints of one kind; of a run the best parameters are taken.

    Returns:
        Parameters by flat name, and what they are.

    Raises:
        UserError: It is no folder of a run, or has no checkpoint.
    """
    # Only here is Orbax needed.
    from autofuse_jax.training import checkpoint_folders, checkpoints

    # A checkpoint inside the run may be named, too: RUN/checkpoints/latest.
    workdir = next((folder for folder in (source, *source.parents) if (folder / CONFIG_NAME).is_file()), None)
    if workdir is None:
        raise UserError(f'{source} has no {CONFIG_NAME}', expected='the folder of a training run', fix='correct --from')
    inside = source.relative_to(workdir).parts
    kind = next((name for name in (checkpoint_folders.BEST, checkpoint_folders.LATEST) if name in inside), None)
    config: dict[str, Any] = read_config(workdir / CONFIG_NAME)
    method = make_method(config['method'], config['model'], config['loss'], config['inference'])
    layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    params, _, step = checkpoints.load_params(workdir, parameter_structure(method), layout, kind)
    about = provenance()
    origin = {'run': workdir.name, 'step': step, 'date': about['date'], 'commit': about['commit']}
    flat = {name: np.asarray(array) for name, array in flatten(jax.device_get(params)).items()}
    return flat, Description(
        config['method'],
        config['model'],
        inference=config['inference'],
        spacing_mm=_training_spacing(workdir, config),
        config=config,
        origin=origin,
    )


def _training_spacing(workdir: Path, config: dict[str, Any]) -> list[float] | None:
    """Return the voxel size on the network's grid, from the data that the run was trained on."""
    data = config.get('data', {'root': '', 'grid': ()})
    root = Path(data['root'] or workdir / 'phantom')
    if not (root / MANIFEST_NAME).is_file():
        print(f'the training data {root} is not there, so the voxel size of the weights is not recorded')
        return None
    manifest = read_manifest(root)
    grid = data['grid'] if any(data['grid']) else manifest.shape
    sizes = zip(manifest.shape, manifest.spacing, grid, strict=True)
    return [size * spacing / voxels for size, spacing, voxels in sizes]
