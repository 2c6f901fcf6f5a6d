"""One small pair with or without labels, and parameters that map it by a few voxels at most."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.quick import quick_key, random_params

SHAPE = (16, 16, 16)
CLASSES = 3


def batch_of(fixed=1.0, moving=1.0, labels_seed=0):
    """A batch of one; the seed draws the labels anew."""
    rng, labels_rng = np.random.default_rng(0), np.random.default_rng(labels_seed)
    batch = {}
    for role, flag in (('fixed', fixed), ('moving', moving)):
        batch[role] = jnp.asarray(rng.random((1, *SHAPE, 1)), jnp.float32)
        batch[f'{role}_labels'] = jnp.asarray(labels_rng.integers(0, CLASSES, (1, *SHAPE)))
        batch[f'{role}_has_labels'] = jnp.full(1, flag, jnp.float32)
    return batch


def params_of(method, seed=0, gentle=('correspondence/output',)):
    """Random parameters; those of the layers named are made 20 times smaller."""
    params = random_params(jax.eval_shape(lambda: method.init(quick_key(), SHAPE)), seed)
    for path in gentle:
        *parents, last = path.split('/')
        node = params
        for name in parents:
            node = node[name]
        node[last] = jax.tree.map(lambda leaf: 0.05 * leaf, node[last])
    return params


def moved(before, after):
    """Top-level keys whose parameters are not bit for bit the same."""
    return {
        key
        for key in before
        if any(
            not np.array_equal(one, other)
            for one, other in zip(jax.tree.leaves(before[key]), jax.tree.leaves(after[key]), strict=True)
        )
    }


def reached(gradient):
    """Top-level keys with a gradient that is not zero."""
    return {key for key, tree in gradient.items() if any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(tree))}
