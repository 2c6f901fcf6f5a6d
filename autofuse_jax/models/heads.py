"""Heads that turn features into a velocity distribution, a displacement or class probabilities."""

import flax.linen as nn
import jax

from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import activated_norm
from autofuse_jax.models.field_outputs import widened

# The field starts near zero and its uncertainty near nothing: exp(-10) is a variance of 4.5e-5 voxel^2.
MEAN_KERNEL_STDDEV = 1e-5
LOG_VARIANCE_KERNEL_STDDEV = 1e-10
LOG_VARIANCE_BIAS = -10.0


def mean_convolution(name: str) -> Conv3d:
    """Return a 3 x 3 x 3 convolution to a field that starts near zero: kernel N(0, 1e-5), bias 0."""
    kernel_init = nn.initializers.normal(MEAN_KERNEL_STDDEV)
    return Conv3d(3, kernel_init=kernel_init, bias_init=nn.initializers.zeros_init(), name=name)


def log_variance_convolution(name: str) -> Conv3d:
    """Return a 3 x 3 x 3 convolution to a log-variance that starts at -10: kernel N(0, 1e-10), bias -10."""
    kernel_init = nn.initializers.normal(LOG_VARIANCE_KERNEL_STDDEV)
    return Conv3d(3, kernel_init=kernel_init, bias_init=nn.initializers.constant(LOG_VARIANCE_BIAS), name=name)


class RegistrationHead(nn.Module):
    """Convolution, LeakyReLU, instance norm, then one convolution for the mean and one for the log-variance.

    Attributes:
        variance: Whether the log-variance is predicted; False gives a plain displacement (AutoFuse-disp).
        features: Channels of the first convolution; default None: as many as come in.
    """

    variance: bool = True
    features: int | None = None

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Map (B, d, h, w, C) to mean and log-variance, (B, d, h, w, 3) each; the second is None without variance."""
        features = activated_norm(Conv3d(self.features or features.shape[-1], name='conv')(features))
        # A field that steps by 1/64 voxel, as bfloat16 does from 2 on, is not smooth: its last layer is float32.
        features = widened(features)
        mean = mean_convolution('mean')(features)
        return mean, log_variance_convolution('log_variance')(features) if self.variance else None


class SegmentationHead(nn.Module):
    """A 1 x 1 x 1 convolution and a softmax over classes.

    Attributes:
        num_classes: C, background included.
    """

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to class probabilities (B, D, H, W, C) that sum to 1 over C."""
        return jax.nn.softmax(Conv3d(self.num_classes, (1, 1, 1), name='conv')(widened(features)), axis=-1)
