"""AC-DMiR as a registration method."""

import jax

from autofuse_jax.losses.ac_dmir import ACDMiRWeights, ac_dmir_objective
from autofuse_jax.methods.base import Batch, Diagnostics, Method, Objective, Params, without_draws
from autofuse_jax.methods.pair_method import apply_network, lazy_init, predict_without_draws
from autofuse_jax.models.ac_dmir import ACDMiR
from autofuse_jax.models.pair_network import of_both


def ac_dmir_method(name: str, network: ACDMiR, weights: ACDMiRWeights) -> Method:
    """Join the network and its objective.

    Prediction gives the second map. That of the registration network alone is the first of `ACDMiR.register`.

    Args:
        name: Name of the method in the config.
        network: The network.
        weights: Weights and options of the objective.

    Returns:
        A method with one objective that trains everything, the same in every phase.

    Reference:
        Khor et al., Medical Image Analysis 88, 2023.
    """

    def loss(params: Params, batch: Batch) -> tuple[jax.Array, Diagnostics]:

        def segment(image: jax.Array) -> jax.Array:
            return apply_network(network, params, image, method='segment')

        fixed, moving = batch['fixed'], batch['moving']
        passes = apply_network(network, params, fixed, moving, method='register')
        displacements = passes.initial_displacement, passes.displacement
        warped, of_warped = passes.initial_warped, passes.initial_segmentation
        return ac_dmir_objective(displacements, warped, of_warped, of_both(segment, fixed, moving), batch, weights)

    objectives = (Objective('registration', without_draws(loss)),)
    return Method(name, lazy_init(network), lambda phase: objectives, predict_without_draws(network), uses_labels=True)
