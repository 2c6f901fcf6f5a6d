"""The networks whose weights can be ported: their tensors, and how a state dict tells their options.

A further network needs one entry in `ARCHITECTURES`.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from autofuse_jax.choices import (
    AUTOFUSE_SEMI,
    AUTOFUSE_TRANS_SEMI,
    AUTOFUSE_TRANS_SEMI_SWIN,
    AUTOFUSE_TRANS_UNSUP,
    AUTOFUSE_UNSUP,
)
from autofuse_jax.errors import UserError, describe_differences
from autofuse_jax.models.windows import Size, relative_index
from autofuse_jax.porting.architecture import Architecture, Shapes
from autofuse_jax.porting.lku_net_tensors import ARCHITECTURES as LKU_NET
from autofuse_jax.porting.names import (
    convolutional_fusion_branch,
    convolutional_single_branch,
    swin_fusion_branch,
    swin_single_branch,
)
from autofuse_jax.porting.pc_reg_tensors import ARCHITECTURES as PC_REG
from autofuse_jax.porting.sen_tensors import ARCHITECTURES as SEN
from autofuse_jax.porting.transmorph_tensors import ARCHITECTURES as TRANSMORPH
from autofuse_jax.porting.voxelmorph_tensors import ARCHITECTURES as VOXELMORPH
from autofuse_jax.porting.window_tables import BIAS_TABLE_SUFFIX, INDEX_SUFFIX, cubic_window, table_rows
from autofuse_jax.porting.xmorpher_tensors import ARCHITECTURES as XMORPHER

# The sampling positions that VoxelMorph's warping layer keeps.
GRID_SUFFIX = '.grid'


def _autofuse_options(shapes: Shapes) -> dict[str, Any]:
    return {'base_channels': shapes['SinglePath.conv_1.Conv_1.weight'][0]}


def _segmentation_options(shapes: Shapes, inputs_of: str) -> dict[str, Any]:
    num_classes = shapes['SinglePath.seghead.seg_head.weight'][0]
    # Two images, and of each either all classes or one channel.
    softmax = shapes[inputs_of][1] == 2 + 2 * num_classes
    return {'num_classes': num_classes, 'segmentation_feedback': 'softmax' if softmax else 'argmax'}


def _autofuse_semi_options(shapes: Shapes) -> dict[str, Any]:
    return _autofuse_options(shapes) | _segmentation_options(shapes, 'FusionPath.conv_1.Conv_1.weight')


def _swin_options(shapes: Shapes) -> dict[str, Any]:
    table = shapes[f'FusionPath.trans_1.blocks.0.attn{BIAS_TABLE_SUFFIX}']
    return {
        # The fusion branch is twice as wide as the base.
        'base_channels': shapes['FusionPath.PatchEmbed.proj.weight'][0] // 2,
        'window': cubic_window(table[0]),
        'relative_bias': 'truncated',
    }


def _autofuse_trans_options(shapes: Shapes) -> dict[str, Any]:
    return _swin_options(shapes) | {'single_branch': 'swin'}


def _autofuse_trans_semi_options(shapes: Shapes) -> dict[str, Any]:
    segmentation = _segmentation_options(shapes, 'FusionPath.PatchEmbed.proj.weight')
    return _swin_options(shapes) | segmentation | {'single_branch': 'convolutional'}


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            AUTOFUSE_UNSUP,
            'autofuse',
            (*convolutional_single_branch(segmentation=False), *convolutional_fusion_branch()),
            _autofuse_options,
        ),
        Architecture(
            AUTOFUSE_SEMI,
            'autofuse',
            (*convolutional_single_branch(segmentation=True), *convolutional_fusion_branch()),
            _autofuse_semi_options,
        ),
        Architecture(
            AUTOFUSE_TRANS_UNSUP,
            'autofuse_trans',
            (*swin_single_branch(segmentation=False), *swin_fusion_branch()),
            _autofuse_trans_options,
        ),
        Architecture(
            AUTOFUSE_TRANS_SEMI,
            'autofuse_trans',
            (*convolutional_single_branch(segmentation=True), *swin_fusion_branch()),
            _autofuse_trans_semi_options,
        ),
        # As the paper describes it, and as an early release of its code has it.
        Architecture(
            AUTOFUSE_TRANS_SEMI_SWIN,
            'autofuse_trans',
            (*swin_single_branch(segmentation=True), *swin_fusion_branch()),
            lambda shapes: _autofuse_trans_semi_options(shapes) | {'single_branch': 'swin'},
        ),
        *VOXELMORPH,
        *LKU_NET,
        *SEN,
        *PC_REG,
        *XMORPHER,
        *TRANSMORPH,
    )
}


def recognise(names: Collection[str], *, official: bool, architecture_name: str | None = None) -> Architecture:
    """Find the architecture whose tensors have exactly these names.

    Args:
        names: Keys of an official state dict without integer buffers, or names of our parameters.
        official: Whether the names are official ones.
        architecture_name: Name of the architecture that it must be; None for any.

    Returns:
        The architecture.

    Raises:
        UserError: It is none, or another one than wanted; lists what is missing and what is extra.
    """
    if architecture_name is not None and architecture_name not in ARCHITECTURES:
        raise UserError(f'unknown architecture {architecture_name!r}', expected=f'one of {", ".join(ARCHITECTURES)}')

    def names_of(architecture: Architecture) -> set[str]:
        return set(architecture.official_names if official else architecture.our_names)

    tensor_names = set(names)

    def read_names(architecture: Architecture) -> set[str]:
        return {name for name in tensor_names if not (official and architecture.is_unused(name))}

    exact = next((a for a in ARCHITECTURES.values() if names_of(a) == read_names(a)), None)
    if exact is not None and architecture_name in (None, exact.name):
        return exact
    if architecture_name is not None:
        target = ARCHITECTURES[architecture_name]
    else:
        target = min(ARCHITECTURES.values(), key=lambda a: len(names_of(a) ^ read_names(a)))
    target_names, present_names = names_of(target), read_names(target)
    differences = describe_differences(missing=target_names - present_names, extra=present_names - target_names)
    if exact is not None:
        raise UserError(
            f'the weights are those of {exact.name}, not of {architecture_name}: {differences}',
            fix=f'use --architecture={exact.name} or leave it out',
        )
    closeness = '' if architecture_name else ', the closest architecture'
    raise UserError(
        f'the weights do not fit {target.name}{closeness}: {differences}',
        expected=f'all tensors of one of {", ".join(ARCHITECTURES)}, and no others',
        fix='check that the file holds the weights of one of these networks',
    )


def is_buffer(name: str) -> bool:
    """Tell buffers, which follow from the window's or the volume's size, from learned tensors."""
    return name.endswith((INDEX_SUFFIX, GRID_SUFFIX))


def with_buffers(state: Mapping[str, np.ndarray], window: Size | None = None) -> dict[str, np.ndarray]:
    """Rebuild the integer buffers of a state dict where PyTorch has them: behind each table of relative biases.

    Args:
        state: Learned tensors by official name.
        window: (d, h, w) of the attention windows; None: that of a cubic window, which the tables tell.

    Returns:
        The same with `...relative_position_index`, (tokens, tokens) int64, added.

    Raises:
        UserError: A table is not that of the window, or, without one, of a cubic window.
    """
    complete = {}
    for name, tensor in state.items():
        complete[name] = tensor
        if name.endswith(BIAS_TABLE_SUFFIX):
            size = window or cubic_window(len(tensor))
            if table_rows(size) != len(tensor):
                raise UserError(
                    f'{name} has {len(tensor)} rows, and a window of {tuple(size)} has {table_rows(size)}',
                    expected='the window that the weights were trained with',
                    fix='keep the JSON beside the weights, which says it',
                )
            index = relative_index(size).astype(np.int64)
            complete[name.removesuffix(BIAS_TABLE_SUFFIX) + INDEX_SUFFIX] = index
    return complete
