"""Networks without random draws: they compute the same in training and prediction."""

from collections.abc import Collection
from typing import ClassVar

import flax.linen as nn
import jax

from autofuse_jax.errors import Range
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE, check_pair
from autofuse_jax.models.options import check_network
from autofuse_jax.outputs import RegistrationOutput


class OnePassNetwork(nn.Module):
    """A network of two images; subclasses say what it computes and what its options may be.

    Raises:
        UserError: An option is unknown or out of its range.
        ValueError: The images' sizes are not multiples of `multiple`.
    """

    # What an option may be that is no number of 1 or more, see `check_network`.
    domains: ClassVar[dict[str, Range | Collection[str]]] = {}

    def __post_init__(self):
        check_network(self, **self.domains)
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sizes of the images are multiples of."""
        return SIZE_MULTIPLE

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Compute the output for two images that have been checked; to be called once, from `__call__`."""
        raise TypeError(f'{type(self).__name__} computes nothing.')

    @nn.compact
    def __call__(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Register pairs of images.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of `multiple`, 16 in most networks.
            moving: (B, D, H, W, 1), intensities in [0, 1].

        Returns:
            Output of `register_pair`.
        """
        check_pair(fixed, moving, self.multiple)
        return self.register_pair(fixed, moving)
