"""Default weights of VoxelMorph's relatives: those that were published, or chosen for NCC as the similarity."""

import dataclasses

from autofuse_jax.losses.one_field import EXTENT, RegistrationWeights


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffeomorphicVoxelMorphWeights(RegistrationWeights):
    """Options of diffeomorphic VoxelMorph's loss; see `RegistrationWeights`.

    `L = -NCC + 0.01 KL(lambda = 400)`. Published: KL weight 1 and lambda 10 with squared differences over 0.02^2; the
    current official script has weight 0.01. Inferred for NCC: weight 0.01, and lambda 400, at which so few voxels fold
    as in published comparisons; lower it (10, 50, 200) for a freer field.

    Attributes:
        smoothness: Default 0: the KL contains it.
        prior_lambda: Default 400.
    """

    smoothness: float = 0.0
    prior_lambda: float = 400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeaklySupervisedWeights(RegistrationWeights):
    """Options of weakly supervised VoxelMorph's loss; see `RegistrationWeights`.

    `L = -NCC + |grad u|^2 + v_f v_m Dice(L_f, L_m o phi)`, all weights 1 (inferred; the official script's weights are
    for squared differences). `num_classes` has to be given, or `dice=0`.

    Attributes:
        dice: Default 1.
    """

    dice: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LKUNetWeights(RegistrationWeights):
    """Options of LKU-Net's loss; see `RegistrationWeights`.

    `L = -NCC + 5 |grad u|^2` with u and positions in fractions of the volume's extent, as in the official command for
    NCC, which scales components by n - 1 and positions by n; here both by n.

    Attributes:
        smoothness: Default 5.
        smoothness_unit: Default 'extent'.
    """

    smoothness: float = 5.0
    smoothness_unit: str = EXTENT


@dataclasses.dataclass(frozen=True, kw_only=True)
class SENWeights(RegistrationWeights):
    """Options of SEN's loss; see `RegistrationWeights`.

    `L = -NCC(forward) - NCC(inverse) + 2 (|grad u|^2 + |grad u'|^2)`. Published: smoothness 2 (2022; 3 in 2021) and a
    correlation window of 7; here 9, as for all other methods (inferred).

    Attributes:
        smoothness: Default 2.
        inverse: Default 1: the inverse map counts as much as the forward one.
    """

    smoothness: float = 2.0
    inverse: float = 1.0
