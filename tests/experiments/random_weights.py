"""Files of weights that were drawn at random, for scripts that change weights."""

from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.convert import flatten, parameter_structure
from autofuse_jax.weights.released import Description, write_released
from tests.quick import random_params


def write_random_weights(path: Path, model: dict[str, Any]) -> Path:
    """Write weights of an AutoFuse with some options; returns their file."""
    params = flatten(random_params(parameter_structure(predicting_method('autofuse', model))))
    write_released(path, {name: np.asarray(array) for name, array in params.items()}, Description('autofuse', model))
    return path
