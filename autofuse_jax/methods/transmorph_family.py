"""Default weights of TransMatch; TransMorph has those of `RegistrationWeights`."""

import dataclasses

from autofuse_jax.losses.one_field import RegistrationWeights


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransMatchWeights(RegistrationWeights):
    """Options of TransMatch's loss; see `RegistrationWeights`.

    `L = -NCC + 4 |grad u|^2`, as published.

    Attributes:
        smoothness: Default 4.
    """

    smoothness: float = 4.0
