"""GL-Net, a reconstruction, as a registration method: perception alone, then all networks together."""

import jax

from autofuse_jax.losses.gl_net import GLNetWeights, gl_net_objective
from autofuse_jax.losses.label_maps import labels_or_predicted
from autofuse_jax.losses.segmentation import segmentation_terms
from autofuse_jax.losses.terms import total
from autofuse_jax.methods.base import Batch, Diagnostics, Method, Objective, Params, any_labels, without_draws
from autofuse_jax.methods.pair_method import apply_network, lazy_init, predict_without_draws
from autofuse_jax.models.gl_net import GLNet
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.regions import SOFT, region_images

PERCEPTION = 'perception'


def gl_net_method(name: str, network: GLNet, weights: GLNetWeights) -> Method:
    """Join the networks and their objectives.

    In the phases of `weights.first_stage` only the perception network is trained, from labels; afterwards all three
    networks are, by one objective with an optimiser state of its own. Steps of the first stage without any labels are
    left out.

    Args:
        name: Name of the method in the config.
        network: The networks.
        weights: Weights and options of the objectives.

    Returns:
        A method with the objective 'perception' in the first stage and 'registration' afterwards.

    Reference:
        Ma et al., Computerized Medical Imaging and Graphics 108, 2023; reconstructed.
    """

    def perceive_both(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        def perceive(image: jax.Array) -> jax.Array:
            return apply_network(network, params, image, method='perceive')

        return of_both(perceive, batch['fixed'], batch['moving'])

    def regions_of(batch: Batch, role: str, segmentation: jax.Array) -> jax.Array:
        masks = labels_or_predicted(batch, role, segmentation) if weights.roi_from_label else segmentation
        return region_images(batch[role], jax.lax.stop_gradient(masks), SOFT)

    def perception_loss(params: Params, batch: Batch) -> tuple[jax.Array, Diagnostics]:
        return total(segmentation_terms(perceive_both(params, batch), batch, 1.0))

    def joint_loss(params: Params, batch: Batch) -> tuple[jax.Array, Diagnostics]:
        segmentations = perceive_both(params, batch)
        regions = regions_of(batch, 'fixed', segmentations[0]), regions_of(batch, 'moving', segmentations[1])
        maps = apply_network(network, params, batch['fixed'], batch['moving'], *regions, method='register')
        parts = maps.of_images, maps.of_regions
        return gl_net_objective(maps.displacement, parts, regions, segmentations, batch, weights)

    first = (Objective(PERCEPTION, without_draws(perception_loss), (PERCEPTION,), any_labels),)
    joint = (Objective('registration', without_draws(joint_loss)),)

    def objectives(phase: str) -> tuple[Objective, ...]:
        return first if phase in weights.first_stage else joint

    return Method(name, lazy_init(network), objectives, predict_without_draws(network), uses_labels=True)
