"""Heads that turn features into a velocity distribution, a displacement or class probabilities."""

import flax.linen as nn
import jax

from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import activate, instance_norm

# The field starts near zero and its uncertainty near nothing: exp(-10) is a variance of 4.5e-5 voxel^2.
MEAN_KERNEL_STDDEV = 1e-5
LOG_VARIANCE_KERNEL_STDDEV = 1e-10
LOG_VARIANCE_BIAS = -10.0


class RegistrationHead(nn.Module):
    """Convolution, LeakyReLU, instance norm, then one convolution for the mean and one for the log-variance.

    Attributes:
        variance: Whether the log-variance is predicted; False gives a plain displacement (AutoFuse-disp).
    """

    variance: bool = True

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Map (B, d, h, w, C) to mean and log-variance, (B, d, h, w, 3) each; the second is None without variance."""
        features = instance_norm(activate(Conv3d(features.shape[-1], name='conv')(features)))
        zeros, normal = nn.initializers.zeros_init(), nn.initializers.normal
        mean = Conv3d(3, kernel_init=normal(MEAN_KERNEL_STDDEV), bias_init=zeros, name='mean')(features)
        if not self.variance:
            return mean, None
        log_variance = Conv3d(
            3,
            kernel_init=normal(LOG_VARIANCE_KERNEL_STDDEV),
            bias_init=nn.initializers.constant(LOG_VARIANCE_BIAS),
            name='log_variance',
        )(features)
        return mean, log_variance


class SegmentationHead(nn.Module):
    """A 1 x 1 x 1 convolution and a softmax over classes.

    Attributes:
        num_classes: C, background included.
    """

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to class probabilities (B, D, H, W, C) that sum to 1 over C."""
        return jax.nn.softmax(Conv3d(self.num_classes, (1, 1, 1), name='conv')(features), axis=-1)
