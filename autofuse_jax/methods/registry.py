"""Registration methods: what the trainer trains."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from autofuse_jax.errors import UserError
from autofuse_jax.losses.ac_dmir import ACDMiRWeights
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.losses.gl_net import GLNetWeights
from autofuse_jax.losses.jpr_net import JPRNetWeights
from autofuse_jax.losses.one_field import RegistrationWeights
from autofuse_jax.losses.pc_reg import PCRegWeights
from autofuse_jax.losses.rsegnet import RSegNetWeights
from autofuse_jax.methods.ac_dmir import ac_dmir_method
from autofuse_jax.methods.autofuse import AutoFuseInference, autofuse_method
from autofuse_jax.methods.base import Method, Objective, Prediction, split_params
from autofuse_jax.methods.gl_net import gl_net_method
from autofuse_jax.methods.jpr_net import jpr_net_method
from autofuse_jax.methods.pair_method import registration_method
from autofuse_jax.methods.pc_reg import pc_reg_method
from autofuse_jax.methods.rsegnet import rsegnet_method
from autofuse_jax.methods.transmorph_family import TransMatchWeights
from autofuse_jax.methods.voxelmorph_family import (
    DiffeomorphicVoxelMorphWeights,
    LKUNetWeights,
    SENWeights,
    WeaklySupervisedWeights,
)
from autofuse_jax.models.ac_dmir import ACDMiR
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.autofuse_trans import AutoFuseTrans
from autofuse_jax.models.class_probabilities import FEWEST_CLASSES
from autofuse_jax.models.dtn import DTN
from autofuse_jax.models.early_fuse import EarlyFuse
from autofuse_jax.models.gl_net import GLNet
from autofuse_jax.models.jpr_net import JPRNet
from autofuse_jax.models.late_fuse import LateFuse
from autofuse_jax.models.lku_net import LKUNet
from autofuse_jax.models.mid_fuse import MidFuse
from autofuse_jax.models.multi_fuse import MultiFuse
from autofuse_jax.models.options import COMPUTE_DTYPE, NO_OPTIONS
from autofuse_jax.models.pc_reg import PCReg
from autofuse_jax.models.rsegnet import RSegNet
from autofuse_jax.models.sen import SEN
from autofuse_jax.models.transmatch import TransMatch
from autofuse_jax.models.transmorph import TransMorph
from autofuse_jax.models.voxelmorph import DiffeomorphicVoxelMorph, VoxelMorph
from autofuse_jax.models.xmorpher import XMorpher

__all__ = [
    'METHODS',
    'Method',
    'MethodKind',
    'Objective',
    'Prediction',
    'make_method',
    'predicting_method',
    'section_options',
    'split_params',
]

Options = dict[str, Any]
# Section of a config: the attribute of `MethodKind` whose fields it sets.
SECTIONS = {'model': 'network', 'loss': 'loss', 'inference': 'inference'}


@dataclasses.dataclass(frozen=True)
class MethodKind:
    """A method before its options are known.

    Attributes:
        network: Its Flax module; the section `model` of the config are its fields.
        loss: A dataclass; the section `loss` of the config are its fields.
        join: (name, network, loss) -> method, followed by `inference` where it has such options.
        inference: A dataclass; the section `inference` of the config are its fields. None: the section is empty.
    """

    network: type
    loss: type
    join: Callable[..., Method]
    inference: type | None = None


# Name in the config: the method.
METHODS = {
    'autofuse': MethodKind(AutoFuse, ObjectiveWeights, autofuse_method, AutoFuseInference),
    'autofuse_trans': MethodKind(AutoFuseTrans, ObjectiveWeights, autofuse_method, AutoFuseInference),
    'voxelmorph': MethodKind(VoxelMorph, RegistrationWeights, registration_method),
    'voxelmorph_diff': MethodKind(DiffeomorphicVoxelMorph, DiffeomorphicVoxelMorphWeights, registration_method),
    'ws_voxelmorph': MethodKind(VoxelMorph, WeaklySupervisedWeights, registration_method),
    'lku_net': MethodKind(LKUNet, LKUNetWeights, registration_method),
    'sen': MethodKind(SEN, SENWeights, registration_method),
    'transmorph': MethodKind(TransMorph, RegistrationWeights, registration_method),
    'transmatch': MethodKind(TransMatch, TransMatchWeights, registration_method),
    'early_fuse': MethodKind(EarlyFuse, ObjectiveWeights, autofuse_method, AutoFuseInference),
    'mid_fuse': MethodKind(MidFuse, ObjectiveWeights, autofuse_method, AutoFuseInference),
    'late_fuse': MethodKind(LateFuse, ObjectiveWeights, autofuse_method, AutoFuseInference),
    'multi_fuse': MethodKind(MultiFuse, ObjectiveWeights, autofuse_method, AutoFuseInference),
    'rsegnet': MethodKind(RSegNet, RSegNetWeights, rsegnet_method),
    'jpr_net': MethodKind(JPRNet, JPRNetWeights, jpr_net_method),
    'pc_reg': MethodKind(PCReg, PCRegWeights, pc_reg_method),
    'gl_net': MethodKind(GLNet, GLNetWeights, gl_net_method),
    'ac_dmir': MethodKind(ACDMiR, ACDMiRWeights, ac_dmir_method),
    'dtn': MethodKind(DTN, RegistrationWeights, registration_method),
    'xmorpher': MethodKind(XMorpher, RegistrationWeights, registration_method),
}


def make_method(
    name: str,
    model: Options,
    loss: Options,
    inference: Options | None = None,
    *,
    compute_dtype: jnp.dtype | None = None,
) -> Method:
    """Build a registration method from its name and options.

    Args:
        name: A key of `METHODS`.
        model: Options of its network, the section `model` of the config.
        loss: Options of its objective, the section `loss` of the config.
        inference: Options of its prediction, the section `inference` of the config; default none.
        compute_dtype: Type of the network's activations; default that of its images.

    Returns:
        The method.

    Raises:
        UserError: The name is unknown, or there is no such option, a value is impossible, or the network cannot
            compute in another type than that of its images.
    """
    sections = {'model': model, 'loss': loss, 'inference': inference or {}}
    parts = {}
    for section, options in sections.items():
        option_names = section_options(name, section)
        unknown = sorted(set(options) - set(option_names))
        if unknown:
            raise UserError(
                f'the section {section} of {name} has no option {", ".join(unknown)}',
                expected=f'options among {", ".join(option_names)}' if option_names else 'no options',
                fix=f'correct the section {section} of the config',
            )
        kind = getattr(METHODS[name], SECTIONS[section])
        if kind is not None:
            parts[section] = kind(**options)
    if compute_dtype is not None:
        able = [
            method_name
            for method_name, kind in METHODS.items()
            if any(field.name == COMPUTE_DTYPE for field in dataclasses.fields(kind.network))
        ]
        if name not in able:
            raise UserError(
                f'{name} cannot compute in {compute_dtype}',
                expected=f'one of {", ".join(able)}',
                fix="set training.precision='default'",
            )
        parts['model'] = parts['model'].clone(compute_dtype=compute_dtype)
    return METHODS[name].join(name, *parts.values())


def predicting_method(name: str, model: Options, inference: Options | None = None) -> Method:
    """Build a method of which parameters and predictions are wanted only, such as one from a file of weights.

    Args:
        name: Name of the method, see `make_method`.
        model: Options of the network, see `make_method`.
        inference: Options of the prediction, see `make_method`.

    Returns:
        The method; no prediction depends on the options of its objective.

    Raises:
        UserError: As `make_method`.
    """
    # An objective that compares labels refuses to do so without knowing of how many classes.
    loss = {'num_classes': FEWEST_CLASSES} if 'num_classes' in section_options(name, 'loss') else {}
    return make_method(name, model, loss, inference)


def section_options(name: str, section: str) -> dict[str, Any]:
    """Return the options of a section of a method's config with their defaults.

    Args:
        name: A key of `METHODS`.
        section: 'model', 'loss' or 'inference'.

    Returns:
        Default by option; `dataclasses.MISSING` for an option without one.

    Raises:
        UserError: The name is unknown.
    """
    if name not in METHODS:
        raise UserError(f'unknown method {name!r}', expected=f'one of {", ".join(METHODS)}', fix='correct method')
    kind = getattr(METHODS[name], SECTIONS[section])
    fields = [] if kind is None else dataclasses.fields(kind)
    return {field.name: _default(field) for field in fields if field.name not in NO_OPTIONS}


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
