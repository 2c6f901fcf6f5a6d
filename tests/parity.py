"""The official networks' outputs: weights by their rule, the stored arrays, and our network with the same weights.

The reference files live beside the data (`parity/` next to the folder AUTOFUSE_JAX_DATA names). Small copies of two of
them are in tests/golden, so that the tests of agreement always run.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.losses.objective import ObjectiveWeights
from autofuse_jax.models.pair_network import PairNetwork
from autofuse_jax.outputs import RegistrationOutput

# The official objective.
OFFICIAL = ObjectiveWeights(
    jacobian_determinant='official',
    consistency_grad='seg_only',
    label_warp='nearest',
    missing_labels='zeros',
    ignore_absent=False,
)
