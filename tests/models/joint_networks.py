"""Networks that register and segment: what they are made of, for the checks that all must pass."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.models.ac_dmir import ACDMiR
from autofuse_jax.models.gl_net import GLNet
from autofuse_jax.models.jpr_net import JPRNet
from autofuse_jax.models.pc_reg import PCReg
from autofuse_jax.models.rsegnet import RSegNet
from tests.models.shapes import shapes_of
from tests.quick import quick_jit, random_params

CLASSES = 3


@dataclasses.dataclass(frozen=True, eq=False)
class JointNetwork:
    """A network and what is to be checked of it.

    Attributes:
        small: The network, small enough for tests.
        shape: Size of the images that it is tested with.
        counts: For options of the network's class, the number of parameters by top-level key.
        heads: Paths of the last convolution of each displacement or velocity; without them nothing moves.
        multiple: What sizes must be multiples of.
        trains: Fields of the output, and the top-level keys of the parameters that each depends on.
    """

    small: nn.Module
    shape: tuple[int, int, int]
    counts: tuple[tuple[dict[str, Any], dict[str, int]], ...]
    heads: tuple[tuple[str, ...], ...]
    multiple: int = 16
    trains: dict[str, set[str]] | None = None

    def pair(self, seed: int = 0) -> jax.Array:
        """Return a fixed and a moving image, (2, 1, D, H, W, 1)."""
        return jnp.asarray(np.random.default_rng(seed).random((2, 1, *self.shape, 1)), jnp.float32)

    @functools.cached_property
    def params(self) -> dict[str, Any]:
        """Random parameters in which every part has an effect."""
        return random_params(shapes_of(self.small))

    @functools.cached_property
    def apply(self) -> Callable:
        """(params, fixed, moving) -> output, compiled once."""
        return quick_jit(lambda params, *inputs: self.small.apply({'params': params}, *inputs))


AC_DMIR_PARTS = {'registration': 465_779, 'segmentation': 501_476, 'cross_task_attention': 2_192}
AC_DMIR = JointNetwork(
    ACDMiR(num_classes=CLASSES, base_channels=2),
    (16, 16, 24),
    (
        ({}, AC_DMIR_PARTS | {'final_decoder': 277_395}),
        ({'num_classes': 20}, AC_DMIR_PARTS | {'segmentation': 515_316, 'final_decoder': 277_395}),
        # Without skips each of the three convolutions of the decoder has 32, 32 and 16 inputs less.
        ({'final_skips': False}, AC_DMIR_PARTS | {'final_decoder': 277_395 - 27 * (2 * 32 * 32 + 16 * 3)}),
    ),
    (('final_decoder', 'output'), ('registration', 'decoder', 'output')),
    multiple=8,
)
GL_NET = JointNetwork(
    GLNet(num_classes=CLASSES, base_channels=4),
    (16, 16, 32),
    (
        ({}, {'perception': 5_887_028, 'global_registration': 327_331, 'local_registration': 329_059}),
        (
            {'num_classes': 20},
            {'perception': 5_887_300, 'global_registration': 327_331, 'local_registration': 342_883},
        ),
    ),
    (('global_registration', 'flow'), ('local_registration', 'flow')),
)
JPR_NET = JointNetwork(
    JPRNet(num_classes=CLASSES, base_channels=2),
    # At 16 voxels along all axes the coarsest level is one voxel, which instance norm sets to zero.
    (32, 16, 16),
    (
        ({}, {'encoder': 884_712, 'parcellation': 528_556, 'registration': 740_963}),
        ({'num_classes': 20}, {'encoder': 884_712, 'parcellation': 528_700, 'registration': 740_963}),
        ({'integrate': True}, {'encoder': 884_712, 'parcellation': 528_556, 'registration': 740_963}),
    ),
    (('registration', 'output'),),
    trains={
        'displacement': {'encoder', 'registration'},
        'fixed_segmentation': {'encoder', 'parcellation'},
        'moving_segmentation': {'encoder', 'parcellation'},
    },
)
PC_REG = JointNetwork(
    PCReg(num_classes=CLASSES, base_channels=4),
    (16, 16, 32),
    (
        ({}, {'perception': 5_887_028, 'correspondence': 5_889_171}),
        ({'num_classes': 20}, {'perception': 5_887_300, 'correspondence': 5_902_995}),
    ),
    (('correspondence', 'output'),),
)
RSEGNET = JointNetwork(
    RSegNet(num_classes=CLASSES, base_channels=2),
    (16, 16, 16),
    (
        ({}, {'registration': 515_334, 'segmentation': 514_035}),
        ({'num_classes': 20}, {'registration': 515_334, 'segmentation': 520_963}),
        ({'num_classes': 31}, {'registration': 515_334, 'segmentation': 525_726}),
    ),
    (('registration', 'mean'),),
    trains={
        'velocity_mean': {'registration'},
        'log_variance': {'registration'},
        'fixed_segmentation': {'segmentation'},
        'moving_segmentation': {'segmentation'},
    },
)
NETWORKS = {'ac_dmir': AC_DMIR, 'gl_net': GL_NET, 'jpr_net': JPR_NET, 'pc_reg': PC_REG, 'rsegnet': RSEGNET}


def at(tree: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Return what lies at a path of keys in a tree of dictionaries."""
    return functools.reduce(lambda part, key: part[key], path, tree)


def replaced(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a tree of dictionaries with another value at a path of keys."""
    key, *rest = path
    return tree | {key: replaced(tree[key], tuple(rest), value) if rest else value}
