"""AutoFuse deformable 3-D medical image registration in JAX and Flax."""

import importlib
from typing import Any

from autofuse_jax.version import __version__

__all__ = ['AlignmentSettings', 'InstanceSettings', 'PipelineSettings', '__version__', 'load_model', 'register_images']

# Where each name lives that is imported on demand: preparing data needs neither a network nor jax.
_HOMES = {
    'AlignmentSettings': 'autofuse_jax.registration.alignment',
    'InstanceSettings': 'autofuse_jax.registration.instance',
    'PipelineSettings': 'autofuse_jax.registration.pipeline_settings',
    'load_model': 'autofuse_jax.weights.pretrained',
    'register_images': 'autofuse_jax.registration.images',
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
