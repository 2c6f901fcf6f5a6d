"""The fusion gate with its efficient large kernel block: learned weights decide how much each branch contributes."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import activate, instance_norm

LARGE_KERNEL = 5


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
        return instance_norm(activate(volume + merged))


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
        single = Conv3d(channels, name='single')(jnp.concatenate([fixed, moving], axis=-1))
        single = instance_norm(activate(single))
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
