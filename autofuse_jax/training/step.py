"""One optimisation step as a pure function of state and batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from autofuse_jax.methods.base import Batch, Objective, split_params
from autofuse_jax.sharding import DEPTH_AXIS, replicated
from autofuse_jax.training.optimizers import at_step, averaged
from autofuse_jax.training.state import TrainState

Metrics = dict[str, jax.Array]
StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_train_step(
    objectives: tuple[Objective, ...], optimizer: optax.GradientTransformation, average_decay: float = 0.0
) -> StepFunction:
    """Return the function (state, batch) -> (state, metrics) that carries out all objectives once.

    Args:
        objectives: Objectives, carried out in this order; a later one sees the parameters that an earlier one changed.
        optimizer: Optimiser, which turns gradients into updates.
        average_decay: Decay of the moving average that the state keeps; default 0: it keeps none.

    Returns:
        A pure function, not compiled yet. Its metrics are scalars: `loss`, `grad_norm`, `update_norm` and the
        objective's diagnostics, each under `<objective>/` where there are several objectives.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        keys = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        params, optimizer_states = state.params, dict(state.optimizer)
        metrics: Metrics = {}
        for key, objective in zip(jax.random.split(keys, len(objectives)), objectives, strict=True):
            trained, frozen = split_params(params, objective.trains)

            def loss(trained, frozen=frozen, objective=objective, key=key):
                return objective.loss({**frozen, **trained}, batch, key)

            (value, diagnostics), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
            before = at_step(optimizer_states[objective.name], state.step)
            updates, after = optimizer.update(gradient, before, trained)
            new_params = optax.apply_updates(trained, updates)
            if objective.active is not None:
                active = objective.active(batch)
                new_params, after = _where(active, (new_params, after), (trained, before))
                updates = _where(active, updates, jax.tree.map(jnp.zeros_like, updates))
            optimizer_states[objective.name] = after
            params = {**frozen, **new_params}
            prefix = f'{objective.name}/' if len(objectives) > 1 else ''
            norms = {'grad_norm': optax.tree.norm(gradient), 'update_norm': optax.tree.norm(updates)}
            metrics |= {prefix + name: v for name, v in ({'loss': value} | diagnostics | norms).items()}
        average = averaged(state.average, params, state.step, average_decay) if average_decay else None
        return TrainState(state.step + 1, params, optimizer_states, state.key, average), metrics

    return train_step


def _where(condition: jax.Array, where_true: Any, where_false: Any) -> Any:
    return jax.tree.map(lambda one, two: jnp.where(condition, one, two), where_true, where_false)


def compile_train_step(
    objectives: tuple[Objective, ...],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    average_decay: float = 0.0,
) -> jax.stages.Wrapped:
    """Return the step to be compiled: state replicated and donated, batch where `put_batch` put it.

    Args:
        objectives: Objectives as for `make_train_step`.
        optimizer: Optimiser as for `make_train_step`.
        mesh: The devices.
        average_decay: Decay as for `make_train_step`.

    Returns:
        A function that compiles; the state passed to it must not be used afterwards.
    """
    layout = replicated(mesh)
    return jax.jit(
        make_train_step(objectives, optimizer, average_decay),
        donate_argnums=0,
        in_shardings=(layout, None),
        out_shardings=(layout, layout),
        compiler_options=options_for(mesh),
    )


def options_for(mesh: Mesh) -> dict[str, int]:
    """Return the compiler's options for a step: its defaults, except where GPUs share volumes.

    Volumes are shared to save memory. By default the compiler for GPUs collects the sums over devices and sends them
    together, so that each kernel's derivative, and the large arrays it is computed from, wait for the last one.
    """
    if mesh.devices.flat[0].platform == 'gpu' and mesh.shape[DEPTH_AXIS] > 1:
        return {'xla_gpu_all_reduce_combine_threshold_bytes': 0}
    return {}
