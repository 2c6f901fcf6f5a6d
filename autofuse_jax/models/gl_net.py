"""GL-Net, a reconstruction: a global and a local displacement, estimated at once from images and their regions."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from autofuse_jax.fields import compose
from autofuse_jax.models.field_outputs import widened
from autofuse_jax.models.perceiving import PerceivingNetwork
from autofuse_jax.models.regions import SOFT, region_images
from autofuse_jax.models.voxelmorph import POOLED
from autofuse_jax.models.voxelmorph_unet import VoxelMorphUNet

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


class GLNet(PerceivingNetwork):
    """GL-Net: `u = u_g + u_l`, with u_g from the images and u_l from the regions `R_k = S_k I` of both.

    This is a reconstruction, not the authors' network: no code was published. Stated by the paper are the name, global
    and local transformations that are estimated simultaneously, and a constraint on the similarity of regions; Meng et
    al. add that it fuses at the input and in the loss. Inferred is everything else: that a PC-Reg U-Net finds the
    regions (the first author's later code does so) and softmax probabilities cut them out without gradient, that both
    displacements come from the VoxelMorph U-Net on `[moving, fixed]`, that they are added, and all widths. There are no
    official weights, so that no switch replays any.

    The parameters have the top-level keys 'perception' (5,887,028 for 4 classes), 'global_registration' (327,331) and
    'local_registration' (329,059).

    Attributes (`num_classes` and `base_channels`: see `PerceivingNetwork`):
        combination: 'sum' (default), or 'compose': `u(x) = u_g(x) + u_l(x + u_g(x))`.

    Raises:
        UserError: `num_classes`, `combination` or `base_channels` is none of these.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Ma, Cui, Li, Yang and Xia, Computerized Medical Imaging and Graphics 108, 102263, 2023.
    """

    combination: str = SUM

    domains: ClassVar = {'combination': COMBINATIONS}

    def setup(self):
        """Make the networks."""
        super().setup()
        self.global_registration = VoxelMorphUNet(**POOLED.options(self.base_channels))
        self.local_registration = VoxelMorphUNet(**POOLED.options(self.base_channels))

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

    def displacement(
        self, images: tuple[jax.Array, jax.Array], segmentations: tuple[jax.Array, jax.Array]
    ) -> jax.Array:
        """Register with the images and the regions that their segmentations cut out softly."""
        regions = (region_images(*pair, SOFT) for pair in zip(images, segmentations, strict=True))
        return self.register(*images, *regions).displacement
