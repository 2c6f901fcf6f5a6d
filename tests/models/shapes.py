"""Shapes of what networks have and give, each traced once: without running them, but tracing takes seconds."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from tests.quick import quick_key


def image_of(size, dtype=jnp.float32) -> jax.ShapeDtypeStruct:
    """Return the shape of a batch of one image."""
    return jax.ShapeDtypeStruct((1, *size, 1), dtype)


@functools.cache
def shapes_of(model, size=(32, 32, 32)) -> dict[str, Any]:
    """Return the shapes of the parameters of a network of two images of a size, on which few networks' depend."""
    return jax.eval_shape(model.init, quick_key(), image_of(size), image_of(size))['params']


@functools.cache
def output_of(model, size=(16, 16, 16), dtype=jnp.float32) -> Any:
    """Return the shapes of the output of a network for two images of a size and type."""
    image = image_of(size, dtype)
    return jax.eval_shape(model.apply, {'params': shapes_of(model)}, image, image)


def count(tree) -> int:
    """Count the numbers in a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
