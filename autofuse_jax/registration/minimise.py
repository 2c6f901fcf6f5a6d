"""Gradient descent with early stopping, in compiled pieces between which the host looks at the loss."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autofuse_jax.errors import COUNT, POSITIVE, SHARE, UserError, check_option
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.kept_programs import KeptProgram

# Steps between two looks at the loss: enough to keep the device busy, few enough that progress and a stop are prompt.
STEPS_PER_CALL = 5
# Learning rate at the last step of a level, as a share of that at its first.
FINAL_RATE = 0.1
ALL_STEPS, NO_GAIN = 'all steps', 'no further gain'


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast to descend.

    Attributes:
        steps: Largest number of Adam steps, 1 or more; rounded up to a multiple of 5.
        learning_rate: Learning rate at the first step, above 0; it falls to a tenth along a cosine.
        tolerance: Share of all that was gained so far, in [0, 1]: the descent ends when the last 10 steps lowered the
            best loss by less; 0: never.
        turns: Number of losses that the steps lower in turn, 1 or more; default 1. What the steps say of the loss is
            averaged over as many.

    Raises:
        UserError: A number is out of its range.
    """

    steps: int
    learning_rate: float
    tolerance: float = 0.0
    turns: int = 1

    def __post_init__(self):
        check_option('the number of steps', self.steps, COUNT, fix='leave out a level that is to have no step')
        check_option('the learning rate', self.learning_rate, POSITIVE)
        check_option('the tolerance', self.tolerance, SHARE)
        check_option('the number of turns', self.turns, COUNT)

    @property
    def most_steps(self) -> int:
        """Number of steps that are taken at most, a multiple of 5."""
        return -(-self.steps // STEPS_PER_CALL) * STEPS_PER_CALL


class Minimum(NamedTuple):
    """What a descent ended with.

    Attributes:
        params: The parameters after the last step, unless a look found better ones before; of an early stop the best of
            those that a look found, because the learning rate was still high.
        losses: The loss before each step; of losses in turn, its mean over the last of each.
        loss: Loss of the parameters, as far as it is known: of those after the last step, the loss before that step.
        seconds: Wall time, with compilation where there was any.
        stopped: 'all steps' or 'no further gain'.
    """

    params: Any
    losses: np.ndarray
    loss: float
    seconds: float
    stopped: str

    def stage(self, name: str) -> dict[str, Any]:
        """Return the descent as a record of a report: name, seconds, steps, loss_first, loss_last, stopped."""
        return {
            'name': name,
            'seconds': round(self.seconds, 3),
            'steps': len(self.losses),
            'loss_first': float(self.losses[0]),
            'loss_last': self.loss,
            'stopped': self.stopped,
        }


# (params, data, options, number of the step) -> scalar; `options` is hashable and part of what is compiled.
Loss = Callable[[Any, Any, Any, jax.Array], jax.Array]
OnLoss = Callable[[int, float], None]


def minimise(
    loss: Loss, params: Any, data: Any, options: Any, schedule: Schedule, on_loss: OnLoss | None = None
) -> Minimum:
    """Minimise a loss by Adam with a cosine schedule.

    Args:
        loss: A function of a module, so that what is compiled for it is found again: (params, data, options, step) ->
            scalar, where the number of the step, from 0, tells whose turn it is.
        params: Start, any tree of arrays.
        data: Arrays that the loss needs; other arrays of the same shapes do not compile again.
        options: Hashable; other options compile again.
        schedule: Steps, learning rate and tolerance.
        on_loss: Callback (steps done, loss), every 5 steps.

    Returns:
        The minimum that was reached.

    Raises:
        UserError: The loss became infinite or not a number.
    """
    started = time.perf_counter()
    state = _optimiser().init(params)
    best, gained, waiting = math.inf, 0.0, 0
    values: list[float] = []
    losses: list[float] = []
    stopped = ALL_STEPS
    best_start, lowest_start = params, math.inf
    while len(losses) < schedule.steps:
        rates, numbers = _rates(schedule, len(losses)), len(losses) + np.arange(STEPS_PER_CALL, dtype=np.int32)
        before = params
        params, state, piece = _advance(params, state, data, rates, numbers, loss=loss, options=options)
        values += np.asarray(piece, np.float64).tolist()
        losses = _averaged(values, schedule.turns)
        if not np.isfinite(losses[-STEPS_PER_CALL:]).all():
            raise UserError(
                f'the loss is not finite any more after {len(losses)} steps',
                expected='images with finite intensities and a moderate learning rate',
                fix='lower --learning-rate, or check the images',
            )
        if on_loss is not None:
            on_loss(len(losses), losses[-1])
        if losses[-STEPS_PER_CALL] < lowest_start:
            best_start, lowest_start = before, losses[-STEPS_PER_CALL]
        lowest = min(losses[-STEPS_PER_CALL:])
        gained = max(gained, losses[0] - lowest)
        waiting = 0 if lowest < best - schedule.tolerance * gained else waiting + 1
        best = min(best, lowest)
        if schedule.tolerance and waiting >= 2:
            stopped = NO_GAIN
            break
    last = losses[-1]
    if stopped != ALL_STEPS or lowest_start <= last:
        params, last = best_start, lowest_start
    params = jax.block_until_ready(params)
    return Minimum(params, np.asarray(losses), last, time.perf_counter() - started, stopped)


def say_step(say: OnProgress, name: str, steps: int, number: int, loss: float) -> None:
    """Tell the progress of a descent of so many steps at most, as `minimise` calls it."""
    say(name, number, steps, loss)


def _optimiser() -> optax.GradientTransformation:
    return optax.scale_by_adam()


def _averaged(values: Sequence[float], turns: int) -> list[float]:
    """Mean of each value and those before it that belong to the same round; of the first ones, of the first round."""
    return [float(np.mean(values[max(0, end - turns) : max(end, turns)])) for end in range(1, len(values) + 1)]


def _rates(schedule: Schedule, first: int) -> jax.Array:
    """Learning rates of the next steps."""
    progress = np.minimum((first + np.arange(STEPS_PER_CALL)) / max(schedule.steps - 1, 1), 1.0)
    cosine = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + np.cos(np.pi * progress))
    return jnp.asarray(schedule.learning_rate * cosine, jnp.float32)


def _step(
    params: Any, state: Any, rate: jax.Array, number: jax.Array, data: Any, loss: Loss, options: Any
) -> tuple[Any, Any, jax.Array]:
    value, gradient = jax.value_and_grad(loss)(params, data, options, number)
    updates, state = _optimiser().update(gradient, state, params)
    params = jax.tree.map(lambda leaf, update: leaf - rate * update, params, updates)
    return params, state, value


def _advance_pieces(
    params: Any, state: Any, data: Any, rates: jax.Array, numbers: jax.Array, *, loss: Loss, options: Any
):
    def body(carry: tuple, step: tuple[jax.Array, jax.Array]) -> tuple[tuple, jax.Array]:
        params, state = carry
        params, state, value = _step(params, state, *step, data, loss, options)
        return (params, state), value

    (params, state), losses = jax.lax.scan(body, (params, state), (rates, numbers))
    return params, state, losses


_advance = KeptProgram(
    _advance_pieces, ('loss', 'options'), lambda params, state, data, rates, numbers: (params, state, rates)
)
