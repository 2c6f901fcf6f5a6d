"""Terms of an objective: per-sample values with a weight and a mask, summed to a scalar and reported by name."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# What a step is given: images, labels and flags of pairs by name.
Batch = dict[str, jax.Array]
# What a step tells of itself: scalars by name.
Diagnostics = dict[str, jax.Array]


class Term(NamedTuple):
    """One term of an objective.

    Attributes:
        values: (B,), its value for each sample.
        weight: Factor of the value.
        flags: (B,), 1 for the samples that have the term, else 0; a share in between for a mean of two directions.
    """

    values: jax.Array
    weight: float
    flags: jax.Array


def everywhere(values: jax.Array, weight: float) -> Term:
    """Return a term that every sample has."""
    return Term(values, weight, jnp.ones(values.shape[0], jnp.float32))


def total(terms: dict[str, Term]) -> tuple[jax.Array, Diagnostics]:
    """Sum terms: `sum_t w_t mean_b(value_tb flag_tb)`.

    Args:
        terms: Terms by name.

    Returns:
        The scalar loss, and scalars by name: `term/<name>` is the unweighted mean over the samples that have the
        term, `weighted/<name>` what it adds to the loss.
    """
    loss = jnp.zeros(())
    diagnostics = {}
    for name, term in terms.items():
        contribution = term.weight * jnp.mean(term.values * term.flags)
        loss = loss + contribution
        share = jnp.sum(term.flags)
        diagnostics[f'term/{name}'] = jnp.sum(term.values * term.flags) / jnp.where(share > 0, share, 1.0)
        diagnostics[f'weighted/{name}'] = contribution
    return loss, diagnostics
