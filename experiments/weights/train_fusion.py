"""Train the branch of AutoFuse that registers beside a branch that segments and is held.

    python -m experiments.weights.train_fusion --weights=cardiac --data=DIR --work=runs/fusion --out=fused.npz

For a segmentation that was trained on its own and is good: what it says of a pair is kept and learned from several
times, see `perceived_pairs`, which makes a step several times cheaper than one of `configs/cardiac_taught_semi.py`.
Minimised is the paper's similarity, divergence and folding, and the overlap of the manual labels with the warped ones,
in both directions. The same command continues a training that was interrupted.

Where the weights have a branch that corrects the velocity, which `grow --model descent_channels=16` or
refining_channels=8 adds, that branch alone learns.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.data.augment import Augmentation
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.overlap import dice_loss
from autofuse_jax.losses.regularity import negative_jacobian_loss, velocity_kl
from autofuse_jax.losses.similarity import local_ncc
from autofuse_jax.losses.terms import Diagnostics, everywhere, total
from autofuse_jax.methods.autofuse import DESCENT_BRANCH, FUSION_BRANCH, REFINING_BRANCH
from autofuse_jax.methods.base import Objective, Params
from autofuse_jax.methods.pair_method import apply_network
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.descent import descend
from autofuse_jax.models.field_outputs import of_velocity
from autofuse_jax.models.fusion_gate import FUSIONS
from autofuse_jax.models.heads import LOG_VARIANCE_BIAS
from autofuse_jax.porting.convert import check_shapes, flatten, unflatten
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.network_runs import network_grid
from autofuse_jax.weights.released import Description, read_released, write_released
from autofuse_jax.weights.shipped import weights_file
from experiments.weights.advancing import add_changes, branch_parser, changes_of, note_training, train_branch
from experiments.weights.perceived_pairs import Example, PerceivedPairs

CACHE_GIB = 4.0
# Policies whose pairs have the labels of both images.
LABELLED_POLICIES = ('ed_es_labelled', 'inter_labelled')
# Terms of the objective, and the option that is their weight.
OPTION_OF = {'negative_ncc': 'similarity', 'overlap': 'overlap', 'jacobian': 'jacobian', 'kl': 'kl'}
# Gates that start at exactly 0.5 move by their own small gradients only.
MULTIPLES = (('gate_fusion', 3.0), ('gate_single', 3.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusionWeights:
    """Weights of the objective.

    Attributes:
        similarity: Weight of the local correlation; default 1.
        overlap: Weight of the soft Dice coefficient of the labels; default 3: it is what the network is for.
        kl: sigma of the paper's Eq. 1; default 0.001.
        jacobian: mu of Eq. 1 on the sum over voxels; default 1e-4.
    """

    similarity: float = 1.0
    overlap: float = 3.0
    kl: float = 0.001
    jacobian: float = 1e-4


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = branch_parser(__doc__, steps=5000, learning_rate=1e-3)
    add_changes(parser, Augmentation(rotation=20.0, scale=0.15, gamma=0.3))
    parser.add_argument(
        '--pairs',
        choices=LABELLED_POLICIES,
        default=LABELLED_POLICIES[0],
        help=f'policy of the training pairs; default {LABELLED_POLICIES[0]}: both phases of hearts',
    )
    parser.add_argument('--kept', type=int, default=64, help='pairs that are kept; default 64')
    parser.add_argument('--uses', type=int, default=6, help='steps that a pair is learned from; default 6')
    parser.add_argument('--fresh', action='store_true', help='begin with a fusion branch that is drawn at random')
    parser.add_argument('--fusion', choices=FUSIONS, help='how features are fused; with --fresh')
    parser.add_argument('--without-segmentations', action='store_true', help='do not feed them back; with --fresh')
    for field in dataclasses.fields(FusionWeights):
        text = f'weight in the objective; default {field.default:g}'
        parser.add_argument(f'--{field.name}', type=float, default=field.default, help=text)
    options = parser.parse_args(arguments)
    enable_compilation_cache()
    return run_command(lambda: train(options))


def train(options: argparse.Namespace) -> None:
    """Train to the last step and write the weights, or until a signal asks for an end.

    Args:
        options: The command line's.

    Raises:
        UserError: The weights or the data cannot be read, or the weights are of another kind of network.
        OSError: A folder cannot be written.
    """
    source = weights_file(options.weights)
    flat, description = read_released(source)
    if options.fresh:
        flat = with_fresh_fusion(flat, description, options)
    elif options.fusion or options.without_segmentations:
        raise UserError('another kind of fusion needs other parameters', fix='add --fresh')
    network = _network(source, description.method, description.model)
    check_shapes(flat, description.method, description.model)
    params = jax.tree.map(jnp.asarray, unflatten(flat))
    pairs = _pairs(network, params, description, options)
    weights = FusionWeights(**{field.name: getattr(options, field.name) for field in dataclasses.fields(FusionWeights)})
    learning = learning_branch(network)
    objective = Objective('fusion', functools.partial(fusion_loss, network, weights), trains=(learning,))
    learned = train_branch(options, pairs.at, objective, {learning: params[learning]}, MULTIPLES)
    if learned is None:
        return
    trained, record = learned
    note_training(description.origin, 'registering' if learning == FUSION_BRANCH else 'correcting', options, record)
    write_released(options.out, flat | flatten(trained), description)
    print(f'written: {options.out}')


def learning_branch(network: AutoFuse) -> str:
    """Return the name of the branch that learns: the last that has a say in the velocity."""
    if network.descent_channels:
        return DESCENT_BRANCH
    return REFINING_BRANCH if network.refining_channels else FUSION_BRANCH


def fusion_loss(
    network: AutoFuse, weights: FusionWeights, params: Params, example: Example, key: jax.Array
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of pairs that were perceived, the mean over both directions, and each of its terms.

    Of a branch that descends it is the mean over its steps, too.

    Args:
        network: The network.
        weights: Weights of the terms.
        params: Parameters of the branch that learns, the last one.
        example: Pairs as `perceived_pairs.perceive` returns them.
        key: Source of the velocity's noise.
    """
    example = jax.tree.map(lambda array: array.astype(jnp.float32), example)
    means, log_variance = predicted(network, params, example)
    noise = None if log_variance is None else jax.random.normal(key, means[0].shape)
    measures = [field_measures(example, mean, log_variance, noise) for mean in means]
    factors = dataclasses.asdict(weights)
    return total(
        {
            name: everywhere(sum(measure[name] for measure in measures) / len(means), factors[option])
            for name, option in OPTION_OF.items()
        }
    )


def predicted(network: AutoFuse, params: Params, example: Example) -> tuple[list[jax.Array], jax.Array | None]:
    """Return the mean velocities that count, and their log-variance or None."""
    inputs = example['inputs']
    if network.descent_channels:
        branch = functools.partial(apply_network, network.descent_branch(), params[DESCENT_BRANCH])
        return descend(branch, inputs, example['start'], network.descent_steps), None
    refining, (_, fusion) = network.refining_branch(), network.branches()
    if refining is None:
        mean, log_variance, _ = apply_network(fusion, params[FUSION_BRANCH], *inputs)
        return [mean], log_variance
    correction, log_variance, _ = apply_network(refining, params[REFINING_BRANCH], *inputs)
    return [example['start'] + correction], log_variance


def field_measures(
    example: Example, mean: jax.Array, log_variance: jax.Array | None, noise: jax.Array | None
) -> dict[str, jax.Array]:
    """Return the terms of the objective without their weights, each per pair and of both directions.

    Args:
        example: Pairs, see `fusion_loss`.
        mean: Velocity (B, d, h, w, 3).
        log_variance: Its log-variance; None: it has none, and the divergence is that of its smoothness alone.
        noise: Draws of the velocity, see `of_velocity`.
    """
    output = of_velocity(mean, example['moving'], log_variance, noise)
    directions = (('fixed', 'moving', output.displacement), ('moving', 'fixed', output.inverse_displacement))
    values: dict[str, list[jax.Array]] = {name: [] for name in OPTION_OF if name != 'kl'}
    for fixed, moving, displacement in directions:
        both = jnp.concatenate([example[moving], example[f'{moving}_labels']], axis=-1)
        warped = jax.vmap(warp_linear)(both, displacement)
        values['negative_ncc'].append(-jax.vmap(local_ncc)(example[fixed], warped[..., :1]))
        values['overlap'].append(jax.vmap(dice_loss)(example[f'{fixed}_labels'], warped[..., 1:]))
        values['jacobian'].append(jax.vmap(negative_jacobian_loss)(displacement))
    if log_variance is None:
        log_variance = jnp.full_like(mean, LOG_VARIANCE_BIAS)
    return {name: 0.5 * sum(both) for name, both in values.items()} | {'kl': jax.vmap(velocity_kl)(mean, log_variance)}


def with_fresh_fusion(
    flat: Mapping[str, np.ndarray], description: Description, options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Return parameters with a fusion branch that is drawn, of the kind that is asked for; the description says so."""
    description.model['fusion'] = options.fusion or description.model.get('fusion', 'gate')
    if options.without_segmentations:
        description.model['feed_segmentation'] = False
    method = predicting_method(description.method, description.model)
    # Compiled as one: layer by layer it takes several times as long.
    init = jax.jit(method.init, static_argnums=1)
    drawn = flatten(jax.device_get(init(jax.random.key(options.seed), method.multiple)))
    return {
        name: np.asarray(array) if name.startswith(f'{FUSION_BRANCH}/') else flat[name] for name, array in drawn.items()
    }


def _network(source: Path, method: str, model: Mapping[str, Any]) -> AutoFuse:
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in model.items()}
    if method != 'autofuse' or not options.get('num_classes') or options.get('output', 'velocity') != 'velocity':
        raise UserError(
            f'{source} holds no AutoFuse that segments and predicts a velocity',
            expected='such weights',
            fix='correct --weights',
        )
    return AutoFuse(**options)


def _pairs(network: AutoFuse, params: Params, description: Description, options: argparse.Namespace) -> PerceivedPairs:
    manifest = read_manifest(options.data)
    everyone = frozenset(subject.id for subject in manifest.subjects)
    return PerceivedPairs(
        network,
        params,
        FrameStore(manifest, network_grid(manifest, description, network.multiple), CACHE_GIB),
        pair_source(options.pairs, manifest, 'train', everyone),
        changes_of(options),
        kept=options.kept,
        uses=options.uses,
        seed=options.seed,
    )


if __name__ == '__main__':
    sys.exit(main())
