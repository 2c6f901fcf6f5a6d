"""GL-Net, a reconstruction: a global and a local displacement, estimated at once from images and their regions."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.fields import compose
from autofuse_jax.models.class_probabilities import check_num_classes
from autofuse_jax.models.field_outputs import check_pair, of_displacement, widened
from autofuse_jax.models.options import check_network
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.pc_reg_unet import PCRegUNet, check_base_channels
from autofuse_jax.models.regions import SOFT, region_images
from autofuse_jax.models.voxelmorph import POOLED
from autofuse_jax.models.voxelmorph_unet import VoxelMorphUNet
from autofuse_jax.outputs import RegistrationOutput

SUM, COMPOSE = 'sum', 'compose'
COMBINATIONS = (SUM, COMPOSE)


class GlobalLocalMaps(NamedTuple):
    """What GL-Net registers with; all (B, D, H, W, 3), voxels, pull direction.

    Attributes:
        of_images: u_g, found from the images.
        of_regions: u_l, found from their regions.
        displacement: Both together.
    """

    of_images: jax.Array
    of_regions: jax.Array
    displacement: jax.Array


class GLNet(nn.Module):
    """GL-Net: `u = u_g + u_l`, with u_g from the images and u_l from the regions `R_k = S_k I` of both.

    This is a reconstruction, not the authors' network: no code was published. Stated by the paper are the name, global
    and local transformations that are estimated simultaneously, and a constraint on the similarity of regions; Meng et
    al. add that it fuses at the input and in the loss. Inferred is everything else: that a PC-Reg U-Net finds the
    regions (the first author's later code does so) and softmax probabilities cut them out without gradient, that both
    displacements come from the VoxelMorph U-Net on `[moving, fixed]`, that they are added, and all widths. There are no
    official weights, so that no switch replays any.

    The parameters have the top-level keys 'perception' (5,887,028 for 4 classes), 'global_registration' (327,331) and
    'local_registration' (329,059).

    Attributes:
        num_classes: C, background included, at least 2; default 4.
        combination: 'sum' (default), or 'compose': `u(x) = u_g(x) + u_l(x + u_g(x))`.
        base_channels: Width of all three networks at full resolution, a multiple of 4; default 16.

    Raises:
        UserError: `num_classes`, `combination` or `base_channels` is none of these.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Ma, Cui, Li, Yang and Xia, Computerized Medical Imaging and Graphics 108, 102263, 2023.
    """

    num_classes: int = 4
    combination: str = SUM
    base_channels: int = 16

    def __post_init__(self):
        check_num_classes(self.num_classes)
        check_network(self, combination=COMBINATIONS)
        check_base_channels(self.base_channels)
        super().__post_init__()

    def setup(self):
        """Make the networks."""
        self.perception = PCRegUNet(self.num_classes, self.base_channels)
        self.global_registration = VoxelMorphUNet(**POOLED.options(self.base_channels))
        self.local_registration = VoxelMorphUNet(**POOLED.options(self.base_channels))

    def perceive(self, image: jax.Array) -> jax.Array:
        """Map (B, D, H, W, 1) to class probabilities (B, D, H, W, C) with the perception network alone."""
        return jax.nn.softmax(self.perception(image), axis=-1)

    def register(
        self, fixed: jax.Array, moving: jax.Array, fixed_regions: jax.Array, moving_regions: jax.Array
    ) -> GlobalLocalMaps:
        """Register with the two registration networks, without the perception network.

        Args:
            fixed: (B, D, H, W, 1).
            moving: (B, D, H, W, 1).
            fixed_regions: (B, D, H, W, C - 1), see `region_images`.
            moving_regions: (B, D, H, W, C - 1).

        Returns:
            Both displacements and the two together, float32 at least.
        """
        of_images = widened(self.global_registration(jnp.concatenate([moving, fixed], axis=-1)))
        of_regions = widened(self.local_registration(jnp.concatenate([moving_regions, fixed_regions], axis=-1)))
        if self.combination == COMPOSE:
            return GlobalLocalMaps(of_images, of_regions, jax.vmap(compose)(of_regions, of_images))
        return GlobalLocalMaps(of_images, of_regions, of_images + of_regions)

    def __call__(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Register and segment pairs of images.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of 16.
            moving: (B, D, H, W, 1), intensities in [0, 1].

        Returns:
            Displacement, warped image and the class probabilities of both images.
        """
        check_pair(fixed, moving)
        of_fixed, of_moving = of_both(self.perceive, fixed, moving)
        regions = region_images(fixed, of_fixed, SOFT), region_images(moving, of_moving, SOFT)
        displacement = self.register(fixed, moving, *regions).displacement
        return of_displacement(displacement, moving, fixed_segmentation=of_fixed, moving_segmentation=of_moving)
