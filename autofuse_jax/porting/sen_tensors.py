"""The tensors of the official SEN, first version."""

from collections.abc import Iterator
from typing import Any

from autofuse_jax.choices import SEN
from autofuse_jax.models.sen import DECODER_WIDTHS, PAIR_WIDTHS
from autofuse_jax.porting.architecture import Architecture, Shapes
from autofuse_jax.porting.names import CONVOLUTION, REVERSED, TRANSPOSED, Tensor, layer

# Image 1 of the official code is the moving one. What follows 'l' and the level: ours.
ENCODER_LAYERS = {'1': 'moving', '2': 'fixed', '': 'pair', '_': 'joined'}
HEADS = {'gen_flow_direction': 'flow', 'gen_flow_inverse': 'inverse_flow'}


def _tensors() -> Iterator[Tensor]:
    for level in range(1, len(PAIR_WIDTHS) + 1):
        for suffix, ours in ENCODER_LAYERS.items():
            yield from layer(f'unet_model.l{level}{suffix}.main', f'{ours}_{level}', CONVOLUTION)
    steps = range(1, len(DECODER_WIDTHS) + 1)
    for step in steps:
        for number in (1, 2):
            yield from layer(f'unet_model.d{step}{number}.main', f'decoder_{step}_{number}', CONVOLUTION)
    for step in steps:
        yield from layer(f'unet_model.d{step}.main', f'up_{step}', TRANSPOSED)
    for theirs, ours in HEADS.items():
        yield Tensor(f'{theirs}.weight', f'{ours}/kernel', REVERSED)


def _options(shapes: Shapes) -> dict[str, Any]:
    return {'base_channels': shapes['unet_model.l11.main.weight'][0]}


ARCHITECTURES = (Architecture(SEN, 'sen', tuple(_tensors()), _options),)
