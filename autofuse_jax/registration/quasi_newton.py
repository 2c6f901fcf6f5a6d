"""Descent to the very minimum where parameters are few and the start is near: a quasi-Newton method."""

import functools
import time
from typing import Any

import jax
import numpy as np
from scipy import optimize

from autofuse_jax.errors import UserError
from autofuse_jax.registration.kept_programs import KeptProgram
from autofuse_jax.registration.minimise import ALL_STEPS, NO_GAIN, Loss, Minimum, OnLoss

# Relative change of the loss below which it is at its minimum, about what float32 can tell.
LOSS_TOLERANCE = 1e-7
# Past steps from which the curvature is told.
MEMORY = 12


def minimise_few(
    loss: Loss, params: np.ndarray, data: Any, options: Any, *, steps: int, first_step: float, on_loss: OnLoss
) -> Minimum:
    """Minimise a loss of few parameters by L-BFGS.

    Where Adam circles the minimum at a distance of its last steps, this one reaches it.

    Args:
        loss: A function of a module, (params, data, options, 0) -> scalar.
        params: (N,), start.
        data: Arrays that the loss needs.
        options: Hashable; other options compile again.
        steps: Largest number of evaluations of the loss and its gradient, 1 or more.
        first_step: Length of the first step that is tried, in units of the parameters.
        on_loss: Callback (evaluations done, loss).

    Returns:
        The best of all that was evaluated.

    Raises:
        UserError: The loss became infinite or not a number.

    Reference:
        Byrd et al., A limited memory algorithm for bound constrained optimization, SIAM Journal on Scientific Computing
        16(5), 1995, as in SciPy.
    """
    started = time.perf_counter()
    evaluate = functools.partial(_loss_and_gradient, loss=loss, options=options)
    losses: list[float] = []
    best = (np.inf, params)
    start = np.asarray(params, np.float32)
    at_start = jax.device_get(evaluate(start, data))
    steepness = float(np.linalg.norm(at_start[1]))
    # The method's first step is as long as the gradient.
    scale = first_step / steepness if steepness > 0 else 1.0

    def scaled(point: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best
        params = point.astype(np.float32)
        value, gradient = jax.device_get(evaluate(params, data)) if losses else at_start
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise UserError(
                f'the loss is not finite any more after {len(losses)} steps',
                expected='images with finite intensities',
                fix='check the images',
            )
        losses.append(float(value))
        # A last line search may need a few more evaluations than are allowed.
        if len(losses) <= steps:
            on_loss(len(losses), losses[-1])
        best = min(best, (losses[-1], params), key=lambda pair: pair[0])
        return scale * float(value), scale * gradient.astype(np.float64)

    limits = {'maxfun': steps, 'maxcor': MEMORY, 'ftol': LOSS_TOLERANCE, 'gtol': 0.0}
    ended = optimize.minimize(scaled, start.astype(np.float64), jac=True, method='L-BFGS-B', options=limits)
    stopped = ALL_STEPS if len(losses) >= steps and not ended.success else NO_GAIN
    return Minimum(best[1], np.asarray(losses), best[0], time.perf_counter() - started, stopped)


def _value_and_gradient(params: jax.Array, data: Any, *, loss: Loss, options: Any) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(loss)(params, data, options, 0)


_loss_and_gradient = KeptProgram(_value_and_gradient, ('loss', 'options'), lambda params, data: (0, params))
