"""PC-Reg as a registration method: two networks, two optimisers, two stages."""

import jax

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.pc_reg import (
    PCRegWeights,
    correspondence_objective,
    perception_objective,
    teaching_objective,
)
from autofuse_jax.methods.base import Batch, Diagnostics, Method, Objective, Params, any_labels, without_draws
from autofuse_jax.methods.pair_method import apply_network, lazy_init, predict_without_draws
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.pc_reg import PCReg
from autofuse_jax.models.regions import HARD, region_images

# Top-level keys of the parameters, and names of the objectives that train them.
PERCEPTION, CORRESPONDENCE = 'perception', 'correspondence'


def pc_reg_method(name: str, network: PCReg, weights: PCRegWeights) -> Method:
    """Join both networks and their objectives.

    A step of either stage trains the correspondence network first, on masks of the perception network as it was, and
    then the perception network: from labels in the phases of `weights.first_stage`, by reverse teaching afterwards.
    Each network has an optimiser of its own, whose state goes on from stage to stage, and is left bit for bit as it is
    by the other's.

    Note:
        A step without any labels leaves out the perception network, as in the official code. In the second stage the
        map is that of the updated correspondence network, where the official code takes the one before.

    Args:
        name: Name of the method in the config.
        network: Both networks.
        weights: Weights and options of the objectives.

    Returns:
        A method with the objectives 'correspondence' and 'perception'.

    Reference:
        He et al., PC-Reg-RT, IEEE JBHI 26, 2022.
    """

    def perceive(params: Params, image: jax.Array) -> jax.Array:
        return apply_network(network, params, image, method='perceive')

    def perceive_both(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        return of_both(lambda image: perceive(params, image), batch['fixed'], batch['moving'])

    def correspond(
        params: Params, batch: Batch, segmentations: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the displacement and the regions of both images."""
        images = (batch['fixed'], batch['moving'])
        fixed_regions, moving_regions = (
            region_images(image, jax.lax.stop_gradient(classes), HARD)
            for image, classes in zip(images, segmentations, strict=True)
        )
        return (
            apply_network(network, params, fixed_regions, moving_regions, method='correspond'),
            fixed_regions,
            moving_regions,
        )

    def correspondence_loss(params: Params, batch: Batch) -> tuple[jax.Array, Diagnostics]:
        return correspondence_objective(*correspond(params, batch, perceive_both(params, batch)), weights)

    def perception_loss(params: Params, batch: Batch) -> tuple[jax.Array, Diagnostics]:
        return perception_objective(perceive_both(params, batch), batch, weights)

    def teaching_loss(params: Params, batch: Batch) -> tuple[jax.Array, Diagnostics]:
        segmentations = perceive_both(params, batch)
        displacement = jax.lax.stop_gradient(correspond(params, batch, segmentations)[0])
        of_warped = perceive(params, jax.vmap(warp_linear)(batch['moving'], displacement))
        return teaching_objective(displacement, segmentations[0], of_warped, batch, weights)

    correspondence = Objective(CORRESPONDENCE, without_draws(correspondence_loss), (CORRESPONDENCE,))
    first, second = (
        Objective(PERCEPTION, without_draws(loss), (PERCEPTION,), any_labels)
        for loss in (perception_loss, teaching_loss)
    )

    def objectives(phase: str) -> tuple[Objective, ...]:
        return correspondence, first if phase in weights.first_stage else second

    return Method(name, lazy_init(network), objectives, predict_without_draws(network), uses_labels=True)
