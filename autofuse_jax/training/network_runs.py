"""Trained networks as runs to evaluate: the pairs of a split of prepared data, registered when they are scored."""

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import Manifest, read_manifest
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.runs import Run, Sources
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.convert import check_shapes, unflatten
from autofuse_jax.records.run_folder import CONFIG_NAME
from autofuse_jax.runtime import keep_compiled_programs
from autofuse_jax.sharding import replicated
from autofuse_jax.training import checkpoints
from autofuse_jax.training.config_differences import with_absent_options
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.scoring_config import config_for_scoring
from autofuse_jax.training.stored_config import read_config
from autofuse_jax.training.validation import PairPredictor, make_predict
from autofuse_jax.weights.released import Description, read_released

DEFAULT_SPLIT = 'test'
# Of weights that come without the config of their training.
DEFAULT_PAIRS = 'ed_es'
# Frames on the grid of the network that stay in memory.
CACHE_GIB = 1.0


def open_workdir(folder: Path, name: str, sources: Sources) -> Run:
    """Open the best parameters of a training run.

    Args:
        folder: The work folder, with config.json and checkpoints.
        name: Name in tables.
        sources: `data` replaces the data of the config, `split` its split.

    Returns:
        The run.

    Raises:
        UserError: The config, the data or the checkpoint is wrong.
    """
    config = with_absent_options(ConfigDict(read_config(folder / CONFIG_NAME, of_run=True)))
    if sources.data is not None:
        config.data.source, config.data.root = 'prepared', str(sources.data)
    keep_compiled_programs(config.training.compilation_cache)
    config, remarks = config_for_scoring(config)
    experiment = Experiment(config, folder)
    structure = experiment.state_structure()
    params, _, step = checkpoints.load_params(folder, structure.params, replicated(experiment.mesh))
    split = sources.split or config.evaluation.split
    note = '; '.join([f'Registered with the parameters of step {step} in {folder}', *remarks]) + '.'
    return _run(name, folder, 'checkpoint', experiment.predictor(split), params, split, note)


def open_weights(path: Path, name: str, sources: Sources) -> Run:
    """Open released weights, which see voxels about as large as in training.

    Args:
        path: The npz, with its JSON beside it.
        name: Name in tables.
        sources: `data` is the prepared data, `split` the split to register.

    Returns:
        The run.

    Raises:
        UserError: The weights or the data are wrong, or no data is given.
    """
    if sources.data is None:
        raise UserError(
            f'{path} are weights, but there is no data to register',
            expected='the folder that `python -m autofuse_jax.prepare` wrote',
            fix='add --data=FOLDER',
        )
    flat, description = read_released(path)
    check_shapes(flat, description.method, description.model)
    method = predicting_method(description.method, description.model, description.inference)
    manifest = read_manifest(sources.data)
    grid = network_grid(manifest, description, method.multiple)
    split = sources.split or DEFAULT_SPLIT
    everyone = frozenset(subject.id for subject in manifest.subjects)
    policy = description.config['evaluation']['pairs'] if description.config else DEFAULT_PAIRS
    pairs = pair_source(policy, manifest, split, everyone).anchors
    store = FrameStore(manifest, grid, CACHE_GIB)
    predictor = PairPredictor(make_predict(method, manifest.shape), manifest, store, pairs)
    params = jax.device_put(unflatten(flat))
    return _run(name, path, 'released weights', predictor, params, split, f'Registered with the weights {path}.')


def open_network(path: Path, name: str, sources: Sources) -> Run:
    """Open a training run, where the path is a folder, or released weights.

    Args:
        path: The work folder, or the npz.
        name: Name in tables.
        sources: Places as for `open_workdir` and `open_weights`.

    Returns:
        The run.

    Raises:
        UserError: See there.
    """
    return open_workdir(path, name, sources) if path.is_dir() else open_weights(path, name, sources)


def network_grid(manifest: Manifest, description: Description, multiple: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the grid over the field of view of prepared data on which released weights see about what they know.

    Args:
        manifest: The prepared data.
        description: Description of the weights; where it has no voxel size, that of the data is taken.
        multiple: Step that the sizes are multiples of.

    Returns:
        (D, H, W).
    """
    axes = zip(manifest.shape, manifest.spacing, description.spacing_mm or manifest.spacing, multiple, strict=True)
    depth, height, width = (-(-max(1, round(size * own / wanted)) // step) * step for size, own, wanted, step in axes)
    return depth, height, width


def _run(name: str, source: Path, kind: str, predictor: PairPredictor, params: Any, split: str, note: str) -> Run:
    manifest = predictor.manifest
    data_note = f'Data: {manifest.dataset}, {split} split, on the prepared grid of {manifest.spacing} mm.'
    return Run(name, source, kind, predictor.cases(params), manifest.scored_classes, (note, data_note))
