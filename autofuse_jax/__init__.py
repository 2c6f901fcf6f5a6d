"""AutoFuse deformable 3-D medical image registration in JAX and Flax."""

from autofuse_jax.version import __version__

__all__ = ['__version__']
