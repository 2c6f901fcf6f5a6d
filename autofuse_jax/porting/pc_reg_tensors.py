"""The tensors of the official PC-Reg-RT, PyTorch version.

The official code saves its two networks in two files whose tensors have the same names. To port them, `join_official`
makes one state dict of both, in which the names of the segmenter ('Seger') start with 'seger.' and those of the
registrar ('Reger') with 'reger.'; `split_official` takes it apart again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autofuse_jax.choices import PC_REG
from autofuse_jax.errors import UserError
from autofuse_jax.models.regions import SOFT
from autofuse_jax.porting.architecture import Architecture, Shapes
from autofuse_jax.porting.names import CONVOLUTION, Tensor, layer, norm

# Prefix of the official names: our top-level key.
NETWORKS = {'seger.': 'perception', 'reger.': 'correspondence'}
# Position of a layer in their double convolution: ours.
CONVOLUTIONS = {0: 'conv_1', 3: 'conv_2'}
NORMS = {1: 'norm_1', 4: 'norm_2'}
FIRST, LAST = 'unet.inc', 'out_conv'
LEVELS = range(1, 5)

State = dict[str, np.ndarray]


def join_official(segmenter: Mapping[str, np.ndarray], registrar: Mapping[str, np.ndarray]) -> State:
    """Make one state dict of the two that the official code saves.

    Args:
        segmenter: State dict of its class Seger.
        registrar: State dict of its class Reger.

    Returns:
        All tensors, 'seger.' or 'reger.' before their names.
    """
    pairs = zip(NETWORKS, (segmenter, registrar), strict=True)
    return {prefix + name: tensor for prefix, state in pairs for name, tensor in state.items()}


def split_official(state: Mapping[str, np.ndarray]) -> tuple[State, State]:
    """Take a state dict made by `join_official` apart.

    Args:
        state: Tensors by prefixed name.

    Returns:
        The state dicts of the official classes Seger and Reger.

    Raises:
        UserError: A name has neither prefix.
    """
    strange = [name for name in state if not name.startswith(tuple(NETWORKS))]
    if strange:
        raise UserError(
            f'{strange[0]} is of neither network', expected=f'names that start with {" or ".join(NETWORKS)}'
        )
    segmenter, registrar = (
        {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        for prefix in NETWORKS
    )
    return segmenter, registrar


def _tensors(prefix: str, network: str) -> Iterator[Tensor]:
    blocks = {FIRST: 'encoder_1'}
    blocks |= {f'unet.down{level}.maxpool_conv.1': f'encoder_{level + 1}' for level in LEVELS}
    blocks |= {f'unet.up{level}.conv': f'decoder_{level}' for level in LEVELS}
    for theirs, ours in blocks.items():
        for position, name in sorted((CONVOLUTIONS | NORMS).items()):
            official, path = f'{prefix}{theirs}.double_conv.{position}', f'{network}/{ours}/{name}'
            yield from norm(official, path) if position in NORMS else layer(official, path, CONVOLUTION)
    yield from layer(f'{prefix}{LAST}', f'{network}/output', CONVOLUTION)


def _options(shapes: Shapes) -> dict[str, Any]:
    return {
        'num_classes': shapes[f'seger.{LAST}.weight'][0],
        'base_channels': shapes[f'seger.{FIRST}.double_conv.0.weight'][0],
        'test_masks': SOFT,
    }


TENSORS = tuple(tensor for prefix, network in NETWORKS.items() for tensor in _tensors(prefix, network))
ARCHITECTURES = (Architecture(PC_REG, 'pc_reg', TENSORS, _options),)
