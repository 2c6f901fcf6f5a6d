"""Networks that first perceive the structures of both images and then register with the help of their regions."""

from collections.abc import Collection
from typing import ClassVar

import flax.linen as nn
import jax

from autofuse_jax.models.class_probabilities import check_num_classes
from autofuse_jax.models.field_outputs import check_pair, of_displacement
from autofuse_jax.models.options import check_network
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.pc_reg_unet import PCRegUNet, check_base_channels
from autofuse_jax.outputs import RegistrationOutput


class PerceivingNetwork(nn.Module):
    """A network with a `PCRegUNet` named 'perception'; subclasses say how the regions register.

    Attributes:
        num_classes: C, background included, at least 2; default 4.
        base_channels: Width of all networks at full resolution, a multiple of 4; default 16.
    """

    num_classes: int = 4
    base_channels: int = 16

    # What an option may be that is no number of 1 or more, see `check_network`.
    domains: ClassVar[dict[str, Collection[str]]] = {}

    def __post_init__(self):
        check_num_classes(self.num_classes)
        check_network(self, **self.domains)
        check_base_channels(self.base_channels)
        super().__post_init__()

    def setup(self):
        """Make the perception network."""
        self.perception = PCRegUNet(self.num_classes, self.base_channels)

    def perceive(self, image: jax.Array) -> jax.Array:
        """Map (B, D, H, W, 1) to class probabilities (B, D, H, W, C) with the perception network alone."""
        return jax.nn.softmax(self.perception(image), axis=-1)

    def displacement(
        self, images: tuple[jax.Array, jax.Array], segmentations: tuple[jax.Array, jax.Array]
    ) -> jax.Array:
        """Map the fixed and the moving image and their segmentations to a displacement (B, D, H, W, 3) in voxels."""
        raise TypeError(f'{type(self).__name__} finds no displacement.')

    def __call__(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Register and segment pairs of images, as in prediction.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of 16.
            moving: (B, D, H, W, 1), intensities in [0, 1].

        Returns:
            Displacement, warped image and the class probabilities of both images.
        """
        check_pair(fixed, moving)
        of_fixed, of_moving = of_both(self.perceive, fixed, moving)
        displacement = self.displacement((fixed, moving), (of_fixed, of_moving))
        return of_displacement(displacement, moving, fixed_segmentation=of_fixed, moving_segmentation=of_moving)
