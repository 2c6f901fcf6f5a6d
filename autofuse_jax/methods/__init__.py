"""Registration methods: what the trainer trains."""

import dataclasses
from collections.abc import Callable
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.losses.objective import ObjectiveWeights
from autofuse_jax.methods.autofuse import autofuse_method
from autofuse_jax.methods.base import Method, Objective, Prediction, split_params
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.autofuse_trans import AutoFuseTrans

__all__ = ['METHODS', 'Method', 'MethodKind', 'Objective', 'Prediction', 'make_method', 'model_options', 'split_params']

Options = dict[str, Any]
# What Flax adds to the fields of every module.
FLAX_FIELDS = ('parent', 'name')


@dataclasses.dataclass(frozen=True)
class MethodKind:
    """A method before its options are known.

    Attributes:
        network: Its Flax module; the section `model` of the config are its fields.
        join: (name, network, loss options, inference options) -> method.
    """

    network: type
    join: Callable[[str, Any, Options, Options], Method]


def _join_autofuse(name: str, network: Any, loss: Options, inference: Options) -> Method:
    return autofuse_method(name, network, ObjectiveWeights(**loss), **inference)


# Name in the config: the method.
METHODS = {
    'autofuse': MethodKind(AutoFuse, _join_autofuse),
    'autofuse_trans': MethodKind(AutoFuseTrans, _join_autofuse),
}


def make_method(name: str, model: Options, loss: Options, inference: Options | None = None) -> Method:
    """Build a registration method from its name and options.

    Args:
        name: A key of `METHODS`.
        model: Options of its network, the section `model` of the config.
        loss: Options of its objective, the section `loss` of the config.
        inference: Options of its prediction, the section `inference` of the config; default none.

    Returns:
        The method.

    Raises:
        UserError: The name is unknown, or the network has no such option.
    """
    unknown = sorted(set(model) - set(model_options(name)))
    if unknown:
        raise UserError(
            f'the network of {name} has no option {", ".join(unknown)}',
            expected=f'options among {", ".join(model_options(name))}',
            fix='correct the section model of the config',
        )
    kind = METHODS[name]
    return kind.join(name, kind.network(**model), dict(loss), dict(inference or {}))


def model_options(name: str) -> tuple[str, ...]:
    """Return the names of the options that the network of a method has.

    Args:
        name: A key of `METHODS`.

    Raises:
        UserError: The name is unknown.
    """
    if name not in METHODS:
        raise UserError(f'unknown method {name!r}', expected=f'one of {", ".join(METHODS)}', fix='correct method')
    fields = dataclasses.fields(METHODS[name].network)
    return tuple(field.name for field in fields if field.name not in FLAX_FIELDS)
