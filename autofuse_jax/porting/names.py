"""Which tensor of the official PyTorch networks is which of ours, in the order of the official state dicts."""

from collections.abc import Iterator
from typing import NamedTuple

# Layouts. PyTorch keeps convolutions as (O, I, kD, kH, kW), transposed ones as (I, O, kD, kH, kW), linear layers as
# (O, I); here they are (kD, kH, kW, I, O) and (I, O).
CONVOLUTION = 'convolution'
TRANSPOSED = 'transposed convolution'
LINEAR = 'linear'
# A convolution whose outputs are the components of a field along the last axis first; here they follow the axes.
REVERSED = 'convolution, outputs reversed'
SAME = 'same'

# Their names of things that both kinds of network have: ours.
GATE_LAYERS = {'Conv': 'single', 'Conv_in': 'gate_fusion', 'Conv_con': 'gate_single'}
LARGE_KERNEL_LAYERS = {'Conv_1': 'conv_1', 'Conv_2': 'conv_2', 'Conv_3': 'conv_3', 'Conv_4': 'conv_4', 'Conv': 'merge'}
HEAD_LAYERS = {'Conv': 'conv', 'mean_head': 'mean', 'sigma_head': 'log_variance'}
SWIN_STAGES = range(1, 8)
SWIN_BLOCKS = (0, 1)


class Tensor(NamedTuple):
    """One learned tensor.

    Attributes:
        official: Its key in the official state dict.
        ours: Its path in our parameter tree, names joined by '/'.
        layout: Order of its axes there.
    """

    official: str
    ours: str
    layout: str


def convolutional_single_branch(*, segmentation: bool) -> list[Tensor]:
    """Return the tensors of the convolutional single branch."""
    tensors = []
    for number in range(1, 10 if segmentation else 9):
        tensors += _conv_block(f'SinglePath.conv_{number}', f'single_branch/conv_{number}')
    if segmentation:
        tensors += _segmentation_head()
    return tensors


def convolutional_fusion_branch() -> list[Tensor]:
    """Return the tensors of the convolutional fusion branch."""
    tensors = []
    for number in range(1, 9):
        tensors += _conv_block(f'FusionPath.conv_{number}', f'fusion_branch/conv_{number}')
    return [*tensors, *_gates(range(2, 9)), *_registration_head()]


def swin_single_branch(*, segmentation: bool) -> list[Tensor]:
    """Return the tensors of the Swin single branch."""
    official, ours = 'SinglePath', 'single_branch'
    tensors = [
        *layer(f'{official}.PatchEmbed.proj', f'{ours}/patch_embedding', CONVOLUTION),
        *norm(f'{official}.PatchEmbed.norm', f'{ours}/patch_embedding/norm'),
        *_swin_stages(official, ours),
    ]
    if segmentation:
        for number in (1, 8):
            tensors += _conv_block(f'{official}.conv_{number}', f'{ours}/conv_{number}')
    tensors += _changes_of_resolution(official, ours)
    if segmentation:
        tensors += layer(f'{official}.ReverseEmbed.proj', f'{ours}/expanding_8', TRANSPOSED)
        tensors += norm(f'{official}.ReverseEmbed.norm', f'{ours}/expanding_8/norm')
        tensors += _segmentation_head()
    return tensors


def swin_fusion_branch() -> list[Tensor]:
    """Return the tensors of the Swin fusion branch."""
    official, ours = 'FusionPath', 'fusion_branch'
    return [
        *layer(f'{official}.PatchEmbed.proj', f'{ours}/patch_embedding', CONVOLUTION),
        *norm(f'{official}.PatchEmbed.norm', f'{ours}/patch_embedding/norm'),
        *_swin_stages(official, ours),
        *_changes_of_resolution(official, ours),
        *_gates(SWIN_STAGES),
        *_registration_head(),
    ]


def layer(official: str, ours: str, layout: str) -> list[Tensor]:
    """Return weight and bias of a layer, called kernel and bias here."""
    return [Tensor(f'{official}.weight', f'{ours}/kernel', layout), Tensor(f'{official}.bias', f'{ours}/bias', SAME)]


def norm(official: str, ours: str) -> list[Tensor]:
    """Return weight and bias of a normalisation, called scale and bias here."""
    return [Tensor(f'{official}.weight', f'{ours}/scale', SAME), Tensor(f'{official}.bias', f'{ours}/bias', SAME)]


def _conv_block(official: str, ours: str) -> list[Tensor]:
    return [
        tensor for half in (1, 2) for tensor in layer(f'{official}.Conv_{half}', f'{ours}/conv_{half}', CONVOLUTION)
    ]


def _gates(numbers: range) -> Iterator[Tensor]:
    for number in numbers:
        official, ours = f'FusionPath.FG_{number}', f'fusion_branch/gate_{number}'
        for theirs, name in GATE_LAYERS.items():
            yield from layer(f'{official}.{theirs}', f'{ours}/{name}', CONVOLUTION)
        for theirs, name in LARGE_KERNEL_LAYERS.items():
            yield from layer(f'{official}.ELK.{theirs}', f'{ours}/large_kernel/{name}', CONVOLUTION)


def _segmentation_head() -> list[Tensor]:
    return layer('SinglePath.seghead.seg_head', 'single_branch/segmentation_head/conv', CONVOLUTION)


def _registration_head() -> Iterator[Tensor]:
    for theirs, name in HEAD_LAYERS.items():
        yield from layer(f'FusionPath.reghead.{theirs}', f'fusion_branch/registration_head/{name}', CONVOLUTION)


def _swin_stages(official: str, ours: str) -> Iterator[Tensor]:
    for stage in SWIN_STAGES:
        for block in SWIN_BLOCKS:
            yield from swin_block(f'{official}.trans_{stage}.blocks.{block}', f'{ours}/stage_{stage}/block_{block + 1}')


def _changes_of_resolution(official: str, ours: str) -> Iterator[Tensor]:
    # Theirs are numbered after the stage before, ours after the stage behind.
    for stage in (2, 3, 4):
        theirs, name = f'{official}.downsample_{stage - 1}', f'{ours}/merging_{stage}'
        yield from layer(f'{theirs}.down_conv', name, CONVOLUTION)
        yield from norm(f'{theirs}.norm', f'{name}/norm')
    for stage in (5, 6, 7):
        theirs, name = f'{official}.upsample_{stage - 1}', f'{ours}/expanding_{stage}'
        yield from layer(f'{theirs}.up_conv', name, TRANSPOSED)
        yield from norm(f'{theirs}.norm', f'{name}/norm')
    for stage in (5, 6, 7):
        yield from layer(f'{official}.backdim_{stage}', f'{ours}/projection_{stage}', CONVOLUTION)


def swin_block(
    official: str, ours: str, *, qkv_bias: bool = True, mlp_layers: tuple[str, str] = ('linear1', 'linear2')
) -> Iterator[Tensor]:
    """Return the tensors of a Swin block.

    Args:
        official: Its name there.
        ours: Its path here.
        qkv_bias: Whether queries, keys and values have a bias.
        mlp_layers: Their names of the layers of the MLP.
    """
    attention, ours_attention = f'{official}.attn', f'{ours}/attention'
    yield from norm(f'{official}.norm1', f'{ours}/norm_1')
    yield Tensor(f'{attention}.relative_position_bias_table', f'{ours_attention}/relative_bias', SAME)
    yield from layer(f'{attention}.qkv', f'{ours_attention}/qkv', LINEAR)[: 2 if qkv_bias else 1]
    yield from layer(f'{attention}.proj', f'{ours_attention}/projection', LINEAR)
    yield from norm(f'{official}.norm2', f'{ours}/norm_2')
    for number, theirs in enumerate(mlp_layers, 1):
        yield from layer(f'{official}.mlp.{theirs}', f'{ours}/mlp/linear_{number}', LINEAR)
