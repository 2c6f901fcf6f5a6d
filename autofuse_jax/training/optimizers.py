"""The optimiser, its learning rate schedule, factors for groups of parameters, and their average."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from autofuse_jax.errors import UserError

SCHEDULES = ('constant', 'cosine')
# Part of a parameter's name, and what the learning rate of such parameters is multiplied with.
Multiples = tuple[tuple[str, float], ...]
# An average begins short, with weight 9 / 10 of the first step's parameters, and grows to its decay.
AVERAGE_START = 10


def make_schedule(
    learning_rate: float,
    *,
    schedule: str = 'constant',
    warmup_steps: int = 0,
    total_steps: int,
    final_fraction: float = 0.0,
) -> optax.Schedule:
    """Return the learning rate as a function of the step.

    Args:
        learning_rate: Highest value, positive.
        schedule: 'constant' (the paper) or 'cosine', which falls to `final_fraction` of it at the last step.
        warmup_steps: Steps over which it rises linearly from zero; default 0.
        total_steps: Length of training, all phases together.
        final_fraction: Last value of the cosine schedule as a fraction of the highest; default 0.

    Returns:
        step -> learning rate.

    Raises:
        UserError: The schedule is unknown.
    """
    if schedule not in SCHEDULES:
        raise UserError(f'optimizer.schedule is {schedule!r}', expected=f'one of {", ".join(SCHEDULES)}')
    after = max(total_steps - warmup_steps, 1)
    main = (
        optax.constant_schedule(learning_rate)
        if schedule == 'constant'
        else optax.cosine_decay_schedule(learning_rate, after, alpha=final_fraction)
    )
    if not warmup_steps:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup_steps), main], [warmup_steps])


def make_optimizer(
    schedule: optax.Schedule, *, clip_norm: float = 0.0, multiples: Multiples = ()
) -> optax.GradientTransformation:
    """Return Adam (beta 0.9 and 0.999, epsilon 1e-8), optionally after clipping the gradient's global norm.

    Args:
        schedule: Learning rate as a function of the step.
        clip_norm: Largest gradient norm; 0 (default) means no clipping.
        multiples: Learning rates of groups of parameters, see `multiple_of`; default none: all alike.

    Returns:
        The gradient transformation.

    Reference:
        Kingma and Ba, ICLR 2015; the paper uses a constant rate of 1e-4 (section 4.2).
    """
    parts = [optax.adam(schedule)]
    if clip_norm:
        parts.insert(0, optax.clip_by_global_norm(clip_norm))
    if multiples:
        parts.append(_by_name(multiples))
    return optax.chain(*parts) if len(parts) > 1 else parts[0]


def at_step(state: Any, step: jax.Array) -> Any:
    """Return an optimiser's state whose learning rate is that of a step of training.

    Each objective has a state of its own, which counts the steps of that objective: right for Adam's bias correction,
    wrong for the rate, which belongs to the whole training and must neither begin anew nor end early in a later phase.

    Args:
        state: State of an optimiser of `make_optimizer`.
        step: Number of steps of training done before.

    Returns:
        The state, of the same structure.
    """

    def moved(part: Any) -> Any:
        return part._replace(count=jnp.asarray(step, part.count.dtype)) if _is_schedule(part) else part

    return jax.tree.map(moved, state, is_leaf=_is_schedule)


def _is_schedule(part: Any) -> bool:
    return isinstance(part, optax.ScaleByScheduleState)


def multiple_of(name: str, multiples: Multiples) -> float:
    """Return what the learning rate of a parameter is multiplied with.

    Args:
        name: Flat name, such as 'fusion_branch/gate_2/gate_fusion/kernel'.
        multiples: Factors by part of a name between two '/'; where several parts have one, all are multiplied.

    Returns:
        The product; 1 where no part has a factor.
    """
    factor, parts = 1.0, name.split('/')
    for part, multiple in multiples:
        factor *= multiple if part in parts else 1.0
    return factor


def check_multiples(multiples: Multiples, params: Any) -> None:
    """Check that every factor belongs to some parameter.

    Args:
        multiples: Multiples as for `multiple_of`.
        params: All parameters of a method, or their shapes.

    Raises:
        UserError: No parameter has such a part in its name.
    """
    parts = {part for name in _names(params) for part in name.split('/')}
    for part, _ in multiples:
        if part not in parts:
            raise UserError(
                f'optimizer.multiples names {part!r}, which is part of no parameter',
                expected=f'one of {", ".join(sorted(parts))}',
                fix='correct optimizer.multiples',
            )


def averaged(average: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """Return the exponential moving average of the parameters after one more step.

    `a <- d a + (1 - d) p` with `d = min(decay, (1 + t) / (10 + t))`, so that early parameters are soon forgotten.

    Args:
        average: a, before the step.
        params: p, after the step.
        step: t, number of steps done before.
        decay: Decay of the average, in [0, 1).

    Returns:
        A tree as `params`.

    Reference:
        Polyak and Juditsky, 1992; the ramp is that of TensorFlow's ExponentialMovingAverage.
    """
    d = jnp.minimum(decay, (1.0 + step) / (AVERAGE_START + step))
    return jax.tree.map(lambda a, p: (d * a + (1.0 - d) * p).astype(p.dtype), average, params)


def _by_name(multiples: Multiples) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        factors = iter([multiple_of(name, multiples) for name in _names(updates)])
        return jax.tree.map(lambda leaf: next(factors) * leaf, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _names(params: Any) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in leaves]
