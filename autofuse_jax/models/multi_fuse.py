"""MultiFuse: the three branches of AutoFuse, whose features are added instead of weighed."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from autofuse_jax.models.autofuse import FUSION_FACTOR, FusionBranch, SingleBranch
from autofuse_jax.models.fusion_baseline import FusionBaseline, Velocity
from autofuse_jax.models.options import check_multiple
from autofuse_jax.models.pair_network import of_both


class MultiFuse(FusionBaseline):
    """Two single branches and a fusion branch; for attributes, what is official and inferred see `FusionBaseline`.

    At each level below full resolution `x + IN(LReLU(Conv3([f, m])))` goes on, see `UngatedFusion`; here the base width
    is that of the fusion branch, and the single branches have half of it. 9,713,302 parameters. That the sum's second
    part has LeakyReLU and norm, as in AutoFuse's gate, is inferred.

    Raises:
        UserError: `base_channels` is odd.

    Reference:
        Meng et al., AutoFuse, Pattern Recognition 161, 2025, Table 3.
    """

    WIDTHS: ClassVar[tuple[int, ...]] = (1, 2, 4, 4, 4, 4, 4, 2)

    def __post_init__(self):
        super().__post_init__()
        check_multiple('base_channels', self.base_channels, FUSION_FACTOR, 'the single branches have half of it')

    def velocity(self, fixed: jax.Array, moving: jax.Array) -> Velocity:
        """Run the single branch on both images and the fusion branch on the pair."""
        single_widths = tuple(width // FUSION_FACTOR for width in self.widths)
        single = SingleBranch(single_widths, remat=self.remat, name='single_branch')
        (of_fixed, _), (of_moving, _) = of_both(single, fixed, moving)
        fusion = FusionBranch(self.widths, fusion='sum', remat=self.remat, name='fusion_branch')
        mean, log_variance, _ = fusion(jnp.concatenate([fixed, moving], axis=-1), of_fixed, of_moving)
        return mean, log_variance
