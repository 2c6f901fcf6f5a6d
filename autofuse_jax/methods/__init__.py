"""Registration methods: what the trainer trains."""

from collections.abc import Callable
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.losses.objective import ObjectiveWeights
from autofuse_jax.methods.autofuse import autofuse_method
from autofuse_jax.methods.base import Method, Objective, Prediction, split_params
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.autofuse_trans import AutoFuseTrans

__all__ = ['METHODS', 'Method', 'Objective', 'Prediction', 'make_method', 'split_params']

Options = dict[str, Any]
# Name in the config: (model options, loss options, inference options) -> method.
METHODS: dict[str, Callable[[Options, Options, Options], Method]] = {
    'autofuse': lambda model, loss, inference: autofuse_method(
        'autofuse', AutoFuse(**model), ObjectiveWeights(**loss), **inference
    ),
    'autofuse_trans': lambda model, loss, inference: autofuse_method(
        'autofuse_trans', AutoFuseTrans(**model), ObjectiveWeights(**loss), **inference
    ),
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
        UserError: The name is unknown.
    """
    if name not in METHODS:
        raise UserError(f'unknown method {name!r}', expected=f'one of {", ".join(METHODS)}', fix='correct method')
    return METHODS[name](dict(model), dict(loss), dict(inference or {}))
