"""The tensors of the official LKU-Net."""

from collections.abc import Iterator
from typing import Any

from autofuse_jax.choices import LKU_NET
from autofuse_jax.models.lku_net import DECODER_WIDTHS, ENCODER_WIDTHS
from autofuse_jax.porting.architecture import Architecture, Shapes
from autofuse_jax.porting.names import CONVOLUTION, SAME, TRANSPOSED, Tensor, layer

LARGE_KERNEL_LAYERS = {'layer_regularKernel': 'conv_3', 'layer_largeKernel': 'conv_5', 'layer_oneKernel': 'conv_1'}


def _with_prelu(official: str, ours: str, layout: str = CONVOLUTION) -> Iterator[Tensor]:
    yield from layer(f'{official}.0', f'{ours}/conv', layout)
    yield Tensor(f'{official}.1.weight', f'{ours}/prelu/slope', SAME)


def _large_kernel(official: str, ours: str) -> Iterator[Tensor]:
    for theirs, name in LARGE_KERNEL_LAYERS.items():
        yield from layer(f'{official}.{theirs}.0', f'{ours}/{name}', CONVOLUTION)
    yield Tensor(f'{official}.layer_nonlinearity.weight', f'{ours}/prelu/slope', SAME)


def _tensors() -> Iterator[Tensor]:
    yield from _with_prelu('eninput', 'encoder_0_1')
    yield from _with_prelu('ec1', 'encoder_0_2')
    for level in range(1, len(ENCODER_WIDTHS)):
        yield from _with_prelu(f'ec{2 * level}', f'down_{level}')
        yield from _large_kernel(f'ec{2 * level + 1}', f'large_kernel_{level}')
    for step, level in enumerate(DECODER_WIDTHS):
        for number in (1, 2):
            yield from _with_prelu(f'dc{2 * step + number}', f'decoder_{level}_{number}')
    yield Tensor('dc9.0.weight', 'flow/kernel', CONVOLUTION)
    for step, level in enumerate(DECODER_WIDTHS, 1):
        yield from _with_prelu(f'up{step}', f'up_{level}', TRANSPOSED)


def _options(shapes: Shapes) -> dict[str, Any]:
    return {'channels': shapes['eninput.0.weight'][0]}


# One release builds a second last convolution.
ARCHITECTURES = (Architecture(LKU_NET, 'lku_net', tuple(_tensors()), _options, unused=('dc10.',)),)
