"""The tensors of the official VoxelMorph, PyTorch version."""

from typing import Any

from autofuse_jax.choices import VOXELMORPH
from autofuse_jax.porting.architecture import Architecture, Shapes
from autofuse_jax.porting.names import CONVOLUTION, layer

ENCODER_LEVELS = range(4)
DECODER_LEVELS = range(4)
# Convolutions at full resolution, which the official code lists apart.
REMAINING = range(3)
FIRST = 'unet_model.encoder.0.0.main'


def _names() -> dict[str, str]:
    """Return our name of each official layer, in official order."""
    names = {f'unet_model.encoder.{level}.0.main': f'encoder_{level + 1}' for level in ENCODER_LEVELS}
    names |= {f'unet_model.decoder.{level}.0.main': f'decoder_{level + 1}' for level in DECODER_LEVELS}
    names |= {
        f'unet_model.remaining.{number}.main': f'decoder_{len(DECODER_LEVELS) + number + 1}' for number in REMAINING
    }
    return {official: f'field/unet/{ours}' for official, ours in names.items()} | {'flow': 'field/flow'}


def _options(shapes: Shapes) -> dict[str, Any]:
    return {'variant': 'current', 'base_channels': shapes[f'{FIRST}.weight'][0]}


TENSORS = tuple(tensor for official, ours in _names().items() for tensor in layer(official, ours, CONVOLUTION))
ARCHITECTURES = (Architecture(VOXELMORPH, 'voxelmorph', TENSORS, _options),)
