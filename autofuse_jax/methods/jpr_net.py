"""JPR-Net as a registration method."""

import functools

from autofuse_jax.losses.jpr_net import JPRNetWeights, jpr_net_objective
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.pair_method import pair_method
from autofuse_jax.models.jpr_net import JPRNet


def jpr_net_method(name: str, network: JPRNet, weights: JPRNetWeights) -> Method:
    """Join the network and its objective.

    Args:
        name: Name of the method in the config.
        network: The network.
        weights: Weights and options of the objective.

    Returns:
        A method with one objective that trains everything, the same in every phase.

    Reference:
        Zhao et al., MICCAI 2021.
    """
    loss = functools.partial(jpr_net_objective, weights=weights)
    return pair_method(name, network, loss, uses_labels=True)
