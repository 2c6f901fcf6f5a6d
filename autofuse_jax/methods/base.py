"""The interface between a registration method and the trainer.

A method says how its parameters are made, what it minimises and how it predicts. The trainer knows nothing else, so
that methods with two networks, two optimisers or several stages need no trainer of their own:

* parameters are one nested dictionary; a method with two networks has two top-level keys;
* each objective has its own optimiser state and trains the top-level keys it names;
* a step carries out all objectives of the current phase, one after the other.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from autofuse_jax.losses.terms import Batch, Diagnostics

Params = dict[str, Any]


@flax.struct.dataclass
class Prediction:
    """What a method predicts for a batch of pairs.

    Attributes:
        displacement: (B, D, H, W, 3), voxels of the fixed grid, pull direction.
        velocity: (B, d, h, w, 3), stationary velocity in voxels of its own grid, which covers the same field of view;
            None for a method that predicts a displacement directly.
        fixed_segmentation: (B, D, H, W, C) class probabilities, or None.
        moving_segmentation: (B, D, H, W, C) class probabilities, or None.
        gate_means: Mean weight of the fusion branch by gate name, (B,) in [0, 1]; empty for methods without gates.
    """

    displacement: jax.Array
    velocity: jax.Array | None = None
    fixed_segmentation: jax.Array | None = None
    moving_segmentation: jax.Array | None = None
    gate_means: dict[str, jax.Array] = flax.struct.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Something that a step minimises.

    Attributes:
        name: Key of its optimiser state; prefix of its diagnostics where a method has several.
        loss: (params, batch, key) -> (scalar, diagnostics by name). Pure; all randomness comes from the key.
        trains: Top-level keys of the parameters that its gradient changes; None means all.
        active: (batch) -> whether a step is carried out, a boolean scalar. Otherwise parameters and optimiser state
            stay bit for bit as they are, where a gradient of zero would leave an optimiser its momentum. None: always.
    """

    name: str
    loss: Callable[[Params, Batch, jax.Array], tuple[jax.Array, Diagnostics]]
    trains: tuple[str, ...] | None = None
    active: Callable[[Batch], jax.Array] | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A registration method.

    Attributes:
        name: Its name in the config.
        init: (key, shape (D, H, W)) -> parameters.
        objectives: (phase name) -> objectives of a step, in the order in which they are carried out. The same name in
            two phases shares one optimiser state.
        predict: (params, fixed, moving, key) -> prediction; images are (B, D, H, W, 1) in [0, 1]. Only a method that
            was asked to sample uses the key.
        uses_labels: Whether training looks at labels at all.
        size: (D, H, W) that the parameters are made for, of a method that works on one size only; None: any.
        multiple: Step that D, H and W of the images must be multiples of; default 16.
        gate_weights: (params, fixed, moving) -> weight w_fuse of each fusion gate by name, (B, d, h, w, C) in [0, 1];
            None for a method without gates.
    """

    name: str
    init: Callable[[jax.Array, tuple[int, ...]], Params]
    objectives: Callable[[str], tuple[Objective, ...]]
    predict: Callable[[Params, jax.Array, jax.Array, jax.Array], Prediction]
    uses_labels: bool
    size: tuple[int, ...] | None = None
    multiple: tuple[int, ...] = (16, 16, 16)
    gate_weights: Callable[[Params, jax.Array, jax.Array], dict[str, jax.Array]] | None = None


def without_draws(
    loss: Callable[[Params, Batch], tuple[jax.Array, Diagnostics]],
) -> Callable[[Params, Batch, jax.Array], tuple[jax.Array, Diagnostics]]:
    """Return the loss of an `Objective` from one that draws no random numbers: (params, batch) -> (scalar, terms)."""
    return lambda params, batch, _: loss(params, batch)


def any_labels(batch: Batch) -> jax.Array:
    """Return whether any image of a batch has labels, a boolean scalar."""
    return jnp.any(batch['fixed_has_labels'] + batch['moving_has_labels'] > 0)


def split_params(params: Params, trains: tuple[str, ...] | None) -> tuple[Params, Params]:
    """Split parameters by top-level key into those an objective trains and the rest.

    Args:
        params: All parameters.
        trains: Top-level keys; None means all.

    Returns:
        The trained and the frozen part; `{**frozen, **trained}` has the content of `params`.

    Raises:
        ValueError: A key does not exist.
    """
    if trains is None:
        return params, {}
    missing = [key for key in trains if key not in params]
    if missing:
        raise ValueError(f'an objective trains {missing}, but the parameters have the keys {sorted(params)}.')
    return {key: params[key] for key in trains}, {key: params[key] for key in params if key not in trains}
