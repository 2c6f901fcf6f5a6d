"""Training pairs as the branch that learns sees them: what the branches before it, held, say of both images.

Branches that are held say the same of a pair every time, and take longer to say it than the branch that learns takes to
learn from it. So what they say of a pair, changed at random as in all training, is kept and learned from several times.
"""

import functools
from typing import Any

import jax
import numpy as np

from autofuse_jax.data.augment import Augmentation, augment_pair
from autofuse_jax.data.batches import pair_to_arrays
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.pairs import PairSource
from autofuse_jax.methods.autofuse import FUSION_BRANCH, PLANE_BRANCH, REFINING_BRANCH, SINGLE_BRANCH
from autofuse_jax.methods.base import Params
from autofuse_jax.methods.pair_method import apply_network
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.conv_blocks import downsample
from autofuse_jax.models.pair_network import moved_by, of_both, perceive_with, velocity_of

# What a step learns from, arrays by name.
Example = dict[str, Any]
# What is kept is a list of pairs in memory: half the bytes, and more digits than a gate can use.
KEPT_TYPE = np.float16
# Streams of random draws: which of the pairs kept a step takes, the order of the pairs, the change of a pair, and its
# other image.
CHOICE, ORDER, CHANGE, PARTNER = range(4)


class PerceivedPairs:
    """Pairs that were perceived last, of which each step takes one.

    Which pairs are kept at a step, and which one it takes, follow from the seed and the step alone, so that a training
    that was interrupted goes on with what it would have had.

    Args:
        network: The network.
        params: Parameters of the branches that are held.
        store: Source of the frames.
        source: The training pairs; where they are drawn at random, every time anew.
        augmentation: Limits of the random change of pairs.
        kept: Number of pairs that are kept, at least 1.
        uses: Steps after which the oldest pair gives way to a new one, so that each is taken that often on average.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        network: AutoFuse,
        params: Params,
        store: FrameStore,
        source: PairSource,
        augmentation: Augmentation,
        *,
        kept: int,
        uses: int,
        seed: int,
    ):
        self._source, self._store, self._augmentation = source, store, augmentation
        self._kept, self._uses, self._seed = kept, uses, seed
        self._examples: dict[int, Example] = {}
        self._perceive = jax.jit(functools.partial(perceive, network, params))

    def at(self, step: int) -> Example:
        """Return the example of a step, see `perceive`."""
        first = step // self._uses
        chosen = first + int(self._rng(CHOICE, step).integers(self._kept))
        self._examples = {number: example for number, example in self._examples.items() if number >= first}
        # Perceived when it is wanted: a training begins, goes on and ends without waiting for all that may be kept.
        if chosen not in self._examples:
            self._examples[chosen] = self._example(chosen)
        return self._examples[chosen]

    def _example(self, number: int) -> Example:
        anchors = self._source.anchors
        epoch, place = divmod(number, len(anchors))
        anchor = anchors[self._rng(ORDER, epoch).permutation(len(anchors))[place]]
        pair = self._source.draw(anchor, self._rng(PARTNER, number))
        arrays = augment_pair(pair_to_arrays(self._store, pair), self._augmentation, self._rng(CHANGE, number))
        example = self._perceive({name: array[None] for name, array in arrays.items()})
        return jax.tree.map(np.asarray, example)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *stream))


def perceive(network: AutoFuse, params: Params, batch: dict[str, jax.Array]) -> Example:
    """Return what the branch that learns is given of pairs, and what its field is judged by.

    Args:
        network: The network. With branches that correct the velocity it is the last of them that learns, from what
            those before it find of both orders of the images.
        params: Parameters of its other branches.
        batch: Images (B, D, H, W, 1) and labels (B, D, H, W) as in `batches.pair_to_arrays`.

    Returns:
        'inputs': the arguments of the branch, see `PairNetwork.fusion_inputs`; of a branch that descends, the images
        and their segmentations, see `PairNetwork.descent_input`. 'fixed', 'moving': images
        (B, d, h, w, 1) and 'fixed_labels', 'moving_labels': the share of each class in a voxel (B, d, h, w, C), on the
        grid of the single branch's block 1, which is the finest that its features have. Of a branch that corrects,
        'start': the velocity (B, d', h', w', 3) that it corrects. All float16.
    """
    (single, fusion), plane_branch = network.branches(), network.plane_branch()
    see = functools.partial(apply_network, single, params[SINGLE_BRANCH])
    planes = None if plane_branch is None else functools.partial(apply_network, plane_branch, params[PLANE_BRANCH])
    of_fixed, of_moving = of_both(functools.partial(perceive_with, see, planes), batch['fixed'], batch['moving'])
    inputs = network.fusion_inputs(batch['fixed'], batch['moving'], of_fixed, of_moving)
    start = {}
    if network.refining_channels or network.descent_channels:
        orders = [inputs, network.fusion_inputs(batch['moving'], batch['fixed'], of_moving, of_fixed)]
        velocity, _, _ = velocity_of(lambda *given: apply_network(fusion, params[FUSION_BRANCH], *given), orders)
        if network.refining_channels:
            orders = moved_by(orders, velocity)
        if network.refining_channels and network.descent_channels:
            refine = functools.partial(apply_network, network.refining_branch(), params[REFINING_BRANCH])
            velocity = velocity + velocity_of(refine, orders)[0]
        start = {'start': velocity}
        inputs = orders[0]
        if network.descent_channels:
            inputs = (network.descent_input(batch['fixed'], batch['moving'], of_fixed, of_moving),)
    finest = tuple(whole // step for whole, step in zip(network.pooling, network.feature_pooling, strict=True))
    example: Example = {'inputs': inputs, **start}
    for role in ('fixed', 'moving'):
        indicators = jax.nn.one_hot(batch[f'{role}_labels'], network.num_classes)
        example |= {role: downsample(batch[role], finest), f'{role}_labels': downsample(indicators, finest)}
    return jax.tree.map(lambda array: array.astype(KEPT_TYPE), example)
