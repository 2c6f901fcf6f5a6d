"""AutoFuse deformable 3-D medical image registration in JAX and Flax."""

from typing import Any

from autofuse_jax.version import __version__

__all__ = ['__version__', 'load_model']


def __getattr__(name: str) -> Any:
    # On demand: preparing data needs neither a network nor jax, and should not wait for them.
    if name == 'load_model':
        from autofuse_jax.pretrained import load_model

        return load_model
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
