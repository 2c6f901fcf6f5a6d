"""PC-Reg: one network perceives structures, another finds the correspondence of what it perceives."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.field_outputs import widened
from autofuse_jax.models.heads import MEAN_KERNEL_STDDEV
from autofuse_jax.models.pc_reg_unet import PCRegUNet
from autofuse_jax.models.perceiving import PerceivingNetwork
from autofuse_jax.models.regions import HARD, MASKS, region_images


class PCReg(PerceivingNetwork):
    """PC-Reg: `S = softmax(perception(I))` of both images, `u = correspondence([R_f, R_m])`.

    The correspondence network sees no image, only the regions `R_k = M_k I` of the C - 1 structures that the perception
    network finds in each. The displacement has full resolution and is not integrated.

    The networks, the order of the input (fixed first) and the training (`methods.pc_reg`) are those of the official
    PyTorch code. Changed: the flow starts near zero (kernel of deviation 1e-5, bias 0), where the official code starts
    it like any layer, and test-time masks are hard as those of training, where the official code multiplies with the
    probabilities there. `legacy_head_init=True` and `test_masks='soft'` replay the official code. Images of other
    sizes must be padded, where the official code pads and crops inside the network.

    The parameters have the top-level keys 'perception' (5,887,028 for 4 classes) and 'correspondence' (5,889,171).

    Attributes (`num_classes` and `base_channels`: see `PerceivingNetwork`):
        test_masks: 'hard' (default) or 'soft' (official code): the masks of prediction, see `region_images`. Training
            takes hard masks.
        legacy_head_init: Start the flow with PyTorch's default initialisation; default False.

    Raises:
        UserError: `num_classes`, `base_channels` or `test_masks` is none of these.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        He et al., Few-shot learning for deformable medical image registration with perception-correspondence decoupling
        and reverse teaching, IEEE JBHI 26, 2022.
    """

    test_masks: str = HARD
    legacy_head_init: bool = False

    domains: ClassVar = {'test_masks': MASKS}

    def setup(self):
        """Make the networks."""
        super().setup()
        near_zero = {
            'output_kernel_init': nn.initializers.normal(MEAN_KERNEL_STDDEV),
            'output_bias_init': nn.initializers.zeros_init(),
        }
        self.correspondence = PCRegUNet(3, self.base_channels, **({} if self.legacy_head_init else near_zero))

    def correspond(self, fixed_regions: jax.Array, moving_regions: jax.Array) -> jax.Array:
        """Map region images (B, D, H, W, C - 1) to a displacement with the correspondence network alone.

        Args:
            fixed_regions: Region images of the fixed image, see `region_images`.
            moving_regions: Region images of the moving image, see `region_images`.

        Returns:
            (B, D, H, W, 3), voxels, pull direction, float32 at least.
        """
        return widened(self.correspondence(jnp.concatenate([fixed_regions, moving_regions], axis=-1)))

    def displacement(
        self, images: tuple[jax.Array, jax.Array], segmentations: tuple[jax.Array, jax.Array]
    ) -> jax.Array:
        """Find the correspondence of regions, with the masks of prediction."""
        regions = (region_images(*pair, self.test_masks) for pair in zip(images, segmentations, strict=True))
        return self.correspond(*regions)
