"""Parameters of networks by their shapes alone, without a forward pass."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from tests.quick import quick_key


def image_of(size, dtype=jnp.float32) -> jax.ShapeDtypeStruct:
    """Return the shape of a batch of one image."""
    return jax.ShapeDtypeStruct((1, *size, 1), dtype)


def shapes_of(model, size=(32, 32, 32)) -> dict[str, Any]:
    """Return the shapes of the parameters of a network of two images of a size, on which few networks' depend."""
    return jax.eval_shape(model.init, quick_key(), image_of(size), image_of(size))['params']


def count(tree) -> int:
    """Count the numbers in a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
