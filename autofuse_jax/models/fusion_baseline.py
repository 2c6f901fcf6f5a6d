"""What the four fusion baselines have in common: options, widths and the way from a velocity to a map."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.field_outputs import check_pair, of_velocity
from autofuse_jax.models.options import check_network
from autofuse_jax.models.pair_network import in_compute_dtype
from autofuse_jax.models.remat import check_remat
from autofuse_jax.outputs import RegistrationOutput

Velocity = tuple[jax.Array, jax.Array | None]


class FusionBaseline(nn.Module):
    """A network that predicts the velocity as AutoFuse does, but joins the images at fixed places, without gates.

    It is unsupervised. The velocity's mean and log-variance are at half resolution; training samples the velocity,
    which is integrated and up-sampled as AutoFuse's. Subclasses say how the images meet.

    Official is what the paper's text says: where the images meet, the encoder-decoder of AutoFuse, adjusted kernel
    numbers, no large kernel block, and the four parameter counts. The widths are inferred from these counts: blocks of
    AutoFuse, powers of two, mirrored decoder; one skeleton gives all four counts. The order of the images (fixed,
    moving) is ours. There is no published code or weights.

    Attributes:
        base_channels: Width c of block 1; default 32, as published.
        remat: Stages that are recomputed, as in `PairNetwork`; default 'none'.
        compute_dtype: Type of the activations, as in `PairNetwork`; default that of the images.

    Raises:
        UserError: `remat` is unknown or `base_channels` no whole number of 1 or more.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Meng et al., AutoFuse, Pattern Recognition 161, 2025, Table 3.
    """

    base_channels: int = 32
    remat: str = 'none'
    compute_dtype: jnp.dtype | None = None

    # Widths of blocks 1 .. 8 in multiples of the base width.
    WIDTHS: ClassVar[tuple[int, ...]] = ()
    # What the method of AutoFuse asks its network: the map is a velocity's integral, and nothing is segmented.
    output: ClassVar[str] = 'velocity'
    num_classes: ClassVar[int] = 0
    # As in `PairNetwork`.
    noise_factor: ClassVar[int] = 2

    def __post_init__(self):
        check_network(self)
        check_remat(self.remat)
        super().__post_init__()

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of blocks 1 .. 8."""
        return tuple(factor * self.base_channels for factor in self.WIDTHS)

    def velocity(self, fixed: jax.Array, moving: jax.Array) -> Velocity:
        """Map two images (B, D, H, W, 1) to mean and log-variance, (B, D / 2, H / 2, W / 2, 3) each."""
        raise TypeError(f'{type(self).__name__} predicts no velocity.')

    @nn.compact
    def __call__(
        self, fixed: jax.Array, moving: jax.Array, noise: jax.Array | None = None, *, symmetric: bool = False
    ) -> RegistrationOutput:
        """Register pairs of images as `PairNetwork`; the output is without segmentations and gate weights."""
        check_pair(fixed, moving)
        narrow_fixed, narrow_moving = (in_compute_dtype(image, self.compute_dtype) for image in (fixed, moving))
        if symmetric:
            first, second = [narrow_fixed, narrow_moving], [narrow_moving, narrow_fixed]
            both, _ = self.velocity(jnp.concatenate(first), jnp.concatenate(second))
            mean, exchanged_mean = jnp.split(both, 2)
            return of_velocity(0.5 * (mean - exchanged_mean), moving, None, None)
        mean, log_variance = self.velocity(narrow_fixed, narrow_moving)
        return of_velocity(mean, moving, log_variance, noise)
