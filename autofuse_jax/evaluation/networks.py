"""Trained networks: the pairs of a split of prepared data, registered one at a time when they are scored."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.pairs import pair_source
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_scores import PairData
from autofuse_jax.evaluation.runs import Case, Run, Sources
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.convert import check_shapes, unflatten
from autofuse_jax.runtime import keep_compiled_programs
from autofuse_jax.sharding import replicated
from autofuse_jax.training import checkpoints
from autofuse_jax.training.config_checks import with_absent_options
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.validation import PairScorer
from autofuse_jax.weights.released import read_released

CONFIG_NAME = 'config.json'
DEFAULT_SPLIT = 'test'
# Of weights that come without the config of their training.
DEFAULT_PAIRS = 'ed_es'
# Frames on the grid of the network that stay in memory.
CACHE_GIB = 1.0


def open_workdir(folder: Path, name: str, sources: Sources) -> Run:
    """Open the best parameters of a training run.

    Args:
        folder: The work folder, with config.json and checkpoints.
        name: What tables call it.
        sources: `data` replaces the data of the config, `split` its split.

    Returns:
        The run.

    Raises:
        UserError: The config, the data or the checkpoint is wrong.
    """
    config = with_absent_options(ConfigDict(_read_config(folder / CONFIG_NAME)))
    if sources.data is not None:
        config.data.source, config.data.root = 'prepared', str(sources.data)
    keep_compiled_programs(config.training.compilation_cache)
    experiment = Experiment(config, folder)
    structure = experiment.state_structure()
    params, _, step = checkpoints.load_params(folder, structure.params, replicated(experiment.mesh))
    split = sources.split or config.evaluation.split
    notes = (f'Registered with the parameters of step {step} in {folder}.',)
    return _run(name, folder, 'checkpoint', experiment.scorer(split), params, split, notes)


def open_weights(path: Path, name: str, sources: Sources) -> Run:
    """Open released weights.

    Args:
        path: The npz, with its JSON beside it.
        name: What tables call it.
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
    grid = tuple(-(-size // step) * step for size, step in zip(manifest.shape, method.multiple, strict=True))
    split = sources.split or DEFAULT_SPLIT
    everyone = frozenset(subject.id for subject in manifest.subjects)
    policy = description.config['evaluation']['pairs'] if description.config else DEFAULT_PAIRS
    pairs = pair_source(policy, manifest, split, everyone).anchors
    scorer = PairScorer(method, manifest, FrameStore(manifest, grid, CACHE_GIB), pairs)
    params = jax.device_put(unflatten(flat))
    return _run(name, path, 'released weights', scorer, params, split, (f'Registered with the weights {path}.',))


def _run(
    name: str, source: Path, kind: str, scorer: PairScorer, params: Any, split: str, notes: tuple[str, ...]
) -> Run:
    manifest = scorer.manifest
    affine = np.diag([*manifest.spacing, 1.0])
    data_note = f'Data: {manifest.dataset}, {split} split, on the prepared grid of {manifest.spacing} mm.'

    def loader(number: int):
        def load() -> PairData:
            prediction, seconds = scorer.register(params, number)
            volumes = scorer.volumes(scorer.pairs[number])
            return PairData(
                prediction.displacement[0],
                affine,
                affine,
                np.eye(4),
                volumes['fixed_labels'],
                volumes['moving_labels'],
                seconds=seconds,
                structures=tuple(manifest.scored_classes),
            )

        return load

    cases = [Case(pair.name, pair.fixed_subject, loader(number)) for number, pair in enumerate(scorer.pairs)]
    return Run(name, source, kind, tuple(cases), manifest.scored_classes, (*notes, data_note))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'{path} is no JSON ({error})', fix='copy it again from the run') from error
    if not isinstance(config, dict):
        raise UserError(f'{path} is no config', expected='the config.json that training wrote', fix='copy it again')
    return config
