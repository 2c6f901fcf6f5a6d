"""EarlyFuse: the images are joined before the first layer."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from autofuse_jax.models.autofuse import SingleBranch
from autofuse_jax.models.fusion_baseline import FusionBaseline, Velocity
from autofuse_jax.models.heads import RegistrationHead


class EarlyFuse(FusionBaseline):
    """One U-Net on the two-channel pair; for attributes, what is official and what is inferred see `FusionBaseline`.

    `v = H(U([f, m]))`, 8,059,590 parameters. Of the skeletons that were searched this is the only one with the
    published 8.06 million.

    Reference:
        Meng et al., AutoFuse, Pattern Recognition 161, 2025, Table 3.
    """

    WIDTHS: ClassVar[tuple[int, ...]] = (1, 2, 4, 4, 8, 4, 4, 2)

    def velocity(self, fixed: jax.Array, moving: jax.Array) -> Velocity:
        """Run the U-Net on both images together."""
        features, _ = SingleBranch(self.widths, remat=self.remat, name='u_net')(
            jnp.concatenate([fixed, moving], axis=-1)
        )
        return RegistrationHead(name='registration_head')(features[-1])
