"""Stages of a network that the reverse pass computes again instead of keeping their activations."""

from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name

from autofuse_jax.errors import UserError

NONE, ALL, FULL_RESOLUTION, ACTIVATIONS, GATES = 'none', 'all', 'full_resolution', 'activations', 'gates'
# Most stages that a network has: blocks 1 .. 9 of AutoFuse.
STAGES = tuple(str(number) for number in range(1, 10))
REMAT_NAMES = (NONE, ALL, FULL_RESOLUTION, ACTIVATIONS, GATES, *STAGES)
# Name under which the output of a convolution is kept when remat is 'activations'.
CONVOLVED = 'convolved'


def check_remat(remat: str) -> None:
    """Check an option `remat`: names of `REMAT_NAMES`, apart by commas.

    - 'none' keeps everything, 'all' recomputes every stage.
    - '1' .. '9' are stages: blocks of a network of convolutions, stages of a Swin network, scales of XMorpher.
    - 'full_resolution' are the stages on the finest grid.
    - 'gates' is where features of several images are joined.
    - 'activations' recomputes, of other convolutional blocks and gates, what costs little: all but convolutions.

    Args:
        remat: Option, such as 'full_resolution,gates'.

    Raises:
        UserError: A name is unknown, or 'none' stands beside others.
    """
    names = remat.split(',')
    unknown = [name for name in names if name not in REMAT_NAMES]
    if unknown or (NONE in names and len(names) > 1):
        raise UserError(
            f'model.remat is {remat!r}',
            expected=f'{NONE!r} or names among {", ".join(REMAT_NAMES[1:])}, apart by commas',
            fix='correct model.remat',
        )


def is_recomputed(remat: str, stage: str, *, full_resolution: bool = False) -> bool:
    """Tell whether a stage is recomputed as a whole.

    Args:
        remat: Stages that are recomputed, see `check_remat`.
        stage: Its name, one of `STAGES` or `GATES`.
        full_resolution: Whether it works on the finest grid; default False.
    """
    names = remat.split(',')
    return ALL in names or stage in names or (full_resolution and FULL_RESOLUTION in names)


def recomputing(module: Any, remat: str, stage: str, *, full_resolution: bool = False) -> Any:
    """Return the class of a convolutional block or gate whose reverse pass recomputes what an option `remat` says.

    Args:
        module: Class of a Flax module.
        remat: Stages that are recomputed, see `check_remat`.
        stage: Name of the stage, see `is_recomputed`.
        full_resolution: Whether the stage is on the finest grid, see `is_recomputed`.

    Returns:
        The class itself where everything is kept.
    """
    if is_recomputed(remat, stage, full_resolution=full_resolution):
        return nn.remat(module)
    if ACTIVATIONS in remat.split(','):
        return nn.remat(module, policy=jax.checkpoint_policies.save_only_these_names(CONVOLVED))
    return module


def named_convolved(volume: jax.Array) -> jax.Array:
    """Mark the result of a convolution as something that 'activations' keeps."""
    return checkpoint_name(volume, CONVOLVED)
