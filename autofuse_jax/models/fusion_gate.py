"""How features of both images join the fusion branch: the gate with its large kernel block, and what it replaces."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import activated_norm
from autofuse_jax.models.remat import GATES, recomputing

LARGE_KERNEL = 5
# How the single branches' features are joined to a level of the fusion branch.
FUSIONS = ('gate', 'sum', 'concat', 'none')


def single_features(fixed: jax.Array, moving: jax.Array, channels: int) -> jax.Array:
    """Return `h = IN(LReLU(Conv3([f, m])))`, (B, D, H, W, channels); to be called within a compact method."""
    pair = jnp.concatenate([fixed, moving], axis=-1)
    return activated_norm(Conv3d(channels, name='single')(pair))


class EfficientLargeKernel(nn.Module):
    """Four parallel convolutions (3 x 3 x 3 and 5 along each axis), merged and added to the input.

    `y = IN(LReLU(x + Conv1([Conv3(x), Conv5_D(x), Conv5_H(x), Conv5_W(x)])))`, each parallel layer with C / 2 channels.

    Reference:
        Meng et al., AutoFuse, section 3.1.2.
    """

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, C), C even, to the same shape."""
        channels = volume.shape[-1]
        kernels = ((3, 3, 3), (LARGE_KERNEL, 1, 1), (1, LARGE_KERNEL, 1), (1, 1, LARGE_KERNEL))
        parallel = [
            Conv3d(channels // 2, kernel, name=f'conv_{number}')(volume) for number, kernel in enumerate(kernels, 1)
        ]
        merged = Conv3d(channels, (1, 1, 1), name='merge')(jnp.concatenate(parallel, axis=-1))
        return activated_norm(volume + merged)


class FusionGate(nn.Module):
    """Weighs the fusion branch against the two single branches, per voxel and per channel.

    `h = IN(LReLU(Conv3([f, m])))`, `w_fuse = softmax(Conv1_fuse([x, h]), Conv1_mf([x, h]))_fuse`,
    `y = w_fuse x + (1 - w_fuse) h`, then the large kernel block. The two-way softmax is computed as a sigmoid of the
    difference, which cannot overflow.

    Attributes:
        large_kernel: Whether the efficient large kernel block follows; default True.
        random_bias: Start the gate's biases at U(+-1 / sqrt(2C)) as the official code does. Default False: zero, so
            that every gate starts at exactly 0.5 as the paper says.

    Reference:
        Meng et al., AutoFuse, section 3.1.1.
    """

    large_kernel: bool = True
    random_bias: bool = False

    @nn.compact
    def __call__(self, fusion: jax.Array, fixed: jax.Array, moving: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Fuse the features of one level.

        Args:
            fusion: (B, D, H, W, C), features x of the fusion branch.
            fixed: (B, D, H, W, C / 2), features f of the fixed image's branch.
            moving: (B, D, H, W, C / 2), features m of the moving image's branch.

        Returns:
            The fused features (B, D, H, W, C) and w_fuse (B, D, H, W, C) in [0, 1].
        """
        channels = fusion.shape[-1]
        bias_init = None if self.random_bias else nn.initializers.zeros_init()
        single = single_features(fixed, moving, channels)
        both = jnp.concatenate([fusion, single], axis=-1)
        gate_fusion, gate_single = (
            Conv3d(channels, (1, 1, 1), nn.initializers.zeros_init(), bias_init, name=name)(both)
            for name in ('gate_fusion', 'gate_single')
        )
        weight = jax.nn.sigmoid(gate_fusion - gate_single)
        fused = weight * fusion + (1.0 - weight) * single
        if self.large_kernel:
            fused = EfficientLargeKernel(name='large_kernel')(fused)
        return fused, weight


class UngatedFusion(nn.Module):
    """Adds or appends the single branches' features without weighing them.

    `y = x + h` or `y = [x, h]` with h of `FusionGate`.

    Attributes:
        concatenate: Whether to append instead of adding, which doubles the channels; default False.

    Reference:
        Meng et al., AutoFuse, MultiFuse in Table 3 and feature fusion in Table 7. The text says sum; appending is ours.
    """

    concatenate: bool = False

    @nn.compact
    def __call__(self, fusion: jax.Array, fixed: jax.Array, moving: jax.Array) -> jax.Array:
        """Join the features of one level, of shapes as in `FusionGate`, to (B, D, H, W, C) or (B, D, H, W, 2C)."""
        single = single_features(fixed, moving, fusion.shape[-1])
        return jnp.concatenate([fusion, single], axis=-1) if self.concatenate else fusion + single


def fuse_levels(
    branch: Any, fixed: Mapping[int, jax.Array], moving: Mapping[int, jax.Array]
) -> tuple[Callable[[int, jax.Array], jax.Array], dict[str, jax.Array]]:
    """Return what joins features of single branches to those of a fusion branch, level by level.

    Args:
        branch: The fusion branch, whose options say how: `fusion` is 'gate', 'sum' or 'concat' (`UngatedFusion`), or
            'none', which leaves the branch as it is; `large_kernel` and `random_gate_bias` see `FusionGate`; `remat`
            see `check_remat`.
        fixed: Features of the fixed image by level, of shapes as in `FusionGate`.
        moving: Features of the moving image, likewise.

    Returns:
        A function (level, features of the fusion branch) -> what goes on, to be called within a compact method; the
        parameters of a level are named 'gate_<level>', 'sum_<level>' or 'concat_<level>'. And w_fuse by the gate's
        name, which fills as the function is called; empty without gates.
    """
    weights: dict[str, jax.Array] = {}

    def fuse(level: int, features: jax.Array) -> jax.Array:
        if branch.fusion == 'none':
            return features
        name, both = f'{branch.fusion}_{level}', (fixed[level], moving[level])
        if branch.fusion == 'gate':
            gate = recomputing(FusionGate, branch.remat, GATES)
            fused, weights[name] = gate(branch.large_kernel, branch.random_gate_bias, name=name)(features, *both)
            return fused
        ungated = recomputing(UngatedFusion, branch.remat, GATES)
        return ungated(branch.fusion == 'concat', name=name)(features, *both)

    return fuse, weights
