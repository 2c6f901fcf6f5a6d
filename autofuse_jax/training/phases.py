"""The phases of training, stretches with one pair policy each, as a config has them."""

import dataclasses

from ml_collections import ConfigDict

from autofuse_jax.data.augment import WHOLE, Size


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training with one pair policy.

    Attributes:
        name: Key in `config.phases`.
        pairs: Pair policy.
        first: Steps done before it starts.
        end: Steps done when it ends.
        crop: Size of the part of each volume that a step sees, see `training_batches`; zeros: all of it.
    """

    name: str
    pairs: str
    first: int
    end: int
    crop: Size = WHOLE


def phases_of(config: ConfigDict) -> tuple[Phase, ...]:
    """Return the phases in the order of their names, those without steps left out.

    Args:
        config: The config.

    Returns:
        Phases that follow one another without gaps.
    """
    phases, first = [], 0
    for name in sorted(config.phases):
        phase = config.phases[name]
        if phase.steps > 0:
            crop = tuple(phase.get('crop', WHOLE))
            phases.append(Phase(name, phase.pairs, first, first + phase.steps, crop))
            first += phase.steps
    return tuple(phases)
