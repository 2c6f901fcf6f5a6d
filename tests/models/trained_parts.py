"""Which part of a network each of its outputs trains."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.quick import quick_jit


def trained_parts(model, params, fixed, moving, names):
    """Return {output: top-level keys of the parameters that it depends on}, by the gradient of random projections."""

    def projections(params):
        output = model.apply({'params': params}, fixed, moving)
        rng = np.random.default_rng(0)
        return {name: jnp.sum(rng.normal(size=getattr(output, name).shape) * getattr(output, name)) for name in names}

    jacobian = quick_jit(jax.jacrev(projections))(params)
    return {
        name: {key for key, part in parts.items() if any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(part))}
        for name, parts in jacobian.items()
    }
