"""LateFuse: each image has a U-Net of its own, with shared weights, and they are joined in the head."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from autofuse_jax.models.autofuse import SingleBranch
from autofuse_jax.models.fusion_baseline import FusionBaseline, Velocity
from autofuse_jax.models.heads import RegistrationHead
from autofuse_jax.models.pair_network import of_both


class LateFuse(FusionBaseline):
    """A shared U-Net for each image; for attributes, what is official and what is inferred see `FusionBaseline`.

    `v = H([U(f), U(m)])`, 8,169,318 parameters. The U-Net is that of EarlyFuse on one channel; the first convolution of
    the head H halves the channels again. That the head normalises as AutoFuse's does is inferred.

    Reference:
        Meng et al., AutoFuse, Pattern Recognition 161, 2025, Table 3.
    """

    WIDTHS: ClassVar[tuple[int, ...]] = (1, 2, 4, 4, 8, 4, 4, 2)

    def velocity(self, fixed: jax.Array, moving: jax.Array) -> Velocity:
        """Run the U-Net on both images and the head on the features of both."""
        branch = SingleBranch(self.widths, remat=self.remat, name='u_net')
        (of_fixed, _), (of_moving, _) = of_both(branch, fixed, moving)
        head = RegistrationHead(features=self.widths[-1], name='registration_head')
        return head(jnp.concatenate([of_fixed[-1], of_moving[-1]], axis=-1))
