"""Train the branch of AutoFuse that segments plane by plane, beside which the others are held.

    python -m experiments.weights.train_planes --weights=cardiac --data=DIR --work=runs/planes --out=planes.npz

It starts at random (`model.plane_channels`, see `models.plane_branch`), or from what it is where weights have it, and
it learns from planes of all labelled training frames, parts of planes at first. The same command continues a training
that was interrupted.
"""

import argparse
import functools
import sys

import jax
import jax.numpy as jnp

from autofuse_jax.data.augment import Augmentation
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.pair_policies import LABELLED_FRAMES, pair_source
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.losses.frame_segmentation import frame_segmentation_objective
from autofuse_jax.losses.terms import Diagnostics
from autofuse_jax.methods.autofuse import PLANE_BRANCH
from autofuse_jax.methods.base import Batch, Objective, Params
from autofuse_jax.methods.pair_method import apply_network
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.models.plane_branch import OFFSETS, PLANE_MULTIPLE, PlaneBranch, volume_of
from autofuse_jax.porting.convert import check_shapes, flatten, unflatten
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.network_runs import network_grid
from autofuse_jax.weights.released import Description, read_released, write_released
from autofuse_jax.weights.shipped import weights_file
from experiments.weights.advancing import add_changes, branch_parser, changes_of, note_training, train_branch
from experiments.weights.labelled_planes import LabelledPlanes

CACHE_GIB = 4.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = branch_parser(__doc__, steps=6000, learning_rate=2e-3)
    add_changes(parser, Augmentation(rotation=30.0, scale=0.2, gamma=0.5, elastic=0.4))
    parser.add_argument('--channels', type=int, default=16, help='base width of a branch that is new; default 16')
    parser.add_argument('--planes', type=int, default=8, help='planes of a step; default 8')
    parser.add_argument('--part', type=int, default=96, help='voxels of a part along both axes; default 96')
    parser.add_argument('--whole-from', type=int, default=4500, help='step from which on planes are whole')
    options = parser.parse_args(arguments)
    enable_compilation_cache()
    return run_command(lambda: train(options))


def train(options: argparse.Namespace) -> None:
    """Train to the last step and write the weights, or until a signal asks for an end.

    Args:
        options: The command line's.

    Raises:
        UserError: The weights or the data cannot be read, or the weights segment nothing.
        OSError: A folder cannot be written.
    """
    source = weights_file(options.weights)
    flat, description = read_released(source)
    classes = description.model.get('num_classes', 0)
    if description.method != 'autofuse' or not classes:
        raise UserError(f'{source} holds no AutoFuse that segments', expected='such weights', fix='correct --weights')
    mine = {name: array for name, array in flat.items() if name.startswith(f'{PLANE_BRANCH}/')}
    channels = description.model['plane_channels'] if mine else options.channels
    branch = PlaneBranch(channels, classes)
    params = jax.tree.map(jnp.asarray, unflatten(mine)) if mine else fresh_params(branch, options.seed)
    objective = Objective('planes', functools.partial(planes_loss, branch), trains=(PLANE_BRANCH,))
    learned = train_branch(options, _planes(description, options).at, objective, params)
    if learned is None:
        return
    trained, record = learned
    description.model['plane_channels'] = channels
    whole = flat | flatten(trained)
    check_shapes(whole, description.method, description.model)
    note_training(description.origin, 'segmenting planes', options, record)
    write_released(options.out, whole, description)
    print(f'written: {options.out}')


def fresh_params(branch: PlaneBranch, seed: int) -> Params:
    """Return parameters of the branch that are drawn at random, under its name."""
    planes = jax.ShapeDtypeStruct((1, PLANE_MULTIPLE, PLANE_MULTIPLE, len(OFFSETS)), 'float32')
    return {PLANE_BRANCH: branch.lazy_init(jax.random.key(seed), planes)['params']}


def planes_loss(branch: PlaneBranch, params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
    """Return Dice loss and cross-entropy of a batch of `LabelledPlanes`, all planes together.

    Args:
        branch: The branch.
        params: Its parameters, under its name.
        batch: See `LabelledPlanes.at`.
        key: Not used: nothing is drawn.
    """
    del key
    segmentation = volume_of(apply_network(branch, params[PLANE_BRANCH], batch['planes']), 1)
    return frame_segmentation_objective(segmentation, batch)


def _planes(description: Description, options: argparse.Namespace) -> LabelledPlanes:
    manifest = read_manifest(options.data)
    multiple = predicting_method(description.method, description.model).multiple
    everyone = frozenset(subject.id for subject in manifest.subjects)
    frames = pair_source(LABELLED_FRAMES, manifest, 'train', everyone).anchors
    return LabelledPlanes(
        FrameStore(manifest, network_grid(manifest, description, multiple), CACHE_GIB),
        [anchor.frame for anchor in frames],
        changes_of(options),
        count=options.planes,
        part=options.part,
        whole_from=options.whole_from,
        seed=options.seed,
    )


if __name__ == '__main__':
    sys.exit(main())
