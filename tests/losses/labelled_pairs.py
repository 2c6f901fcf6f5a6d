"""Pairs with and without labels, and predictions for them, on a few voxels."""

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (8, 8, 8)
CLASSES = 3
# Which of (fixed, moving) has labels.
KINDS = {'both': (1, 1), 'fixed': (1, 0), 'moving': (0, 1), 'none': (0, 0)}
# Out of range on both sides, too.
GARBAGE = (-3, 9)


def batch_of(kind, garbage_seed=None):
    """One pair; labels are the same for every kind but those that a garbage seed replaces where they are missing."""
    rng = np.random.default_rng(0)
    batch = {role: jnp.asarray(rng.random((1, *SHAPE, 1)), jnp.float32) for role in ('fixed', 'moving')}
    garbage = None if garbage_seed is None else np.random.default_rng(garbage_seed)
    for role, flag in zip(('fixed', 'moving'), KINDS[kind], strict=True):
        labels = rng.integers(0, CLASSES, (1, *SHAPE))
        if garbage is not None and not flag:
            labels = garbage.integers(*GARBAGE, (1, *SHAPE))
        batch |= {f'{role}_labels': jnp.asarray(labels), f'{role}_has_labels': jnp.full((1,), flag, jnp.float32)}
    return batch


def field(scale, seed=1):
    """A displacement or velocity (1, D, H, W, 3) without symmetry."""
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=(1, *SHAPE, 3)), jnp.float32)


def logits(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(1, *SHAPE, CLASSES)), jnp.float32)


def one_hot(batch, role):
    return jax.nn.one_hot(batch[f'{role}_labels'], CLASSES)


def active(diagnostics):
    """Names of the terms that add something to the loss."""
    return {name.removeprefix('weighted/') for name, v in diagnostics.items() if 'weighted/' in name and float(v) != 0}


def trained(jacobian):
    """By term the inputs on which it depends, from the jacobian {term: {input: array}}."""
    return {
        term.removeprefix('weighted/'): {name for name, g in gradients.items() if np.any(np.asarray(g))}
        for term, gradients in jacobian.items()
    }
