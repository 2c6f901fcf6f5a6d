"""The curve of validation of a training, and whether it had gained by its end what it gains at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.training.metrics_log import METRICS_NAME, read_rows

# What a curve shows at each step.
QUANTITIES = ('dsc_after', 'njd_percent', 'sdlogj')
# What the mean weight of a gate is called.
GATE = 'gate_'
DIGITS = 6
# A training that gains less than this in its last quarter has converged, points of DSC in percent.
CONVERGED_GAIN = 0.5
LAST_SHARE = 0.25

Curve = Sequence[Mapping[str, Any]]


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """Return the means over the validation pairs at each step at which they were registered.

    Args:
        folder: The run's folder.

    Returns:
        Dictionaries with 'step', `QUANTITIES` and the mean weights of gates, 'gate_2' and so on, None where a mean is
        not finite; none where nothing was validated.
    """
    return [
        {'step': row['step']}
        | {
            quantity: None if row[quantity] is None else round(row[quantity], DIGITS)
            for quantity in (*QUANTITIES, *(name for name in row if name.startswith(GATE)))
        }
        for row in read_rows(folder / METRICS_NAME)
        if row['kind'] == 'validation'
    ]


def last_gain(curve: Curve) -> float | None:
    """Return what the last quarter of a training gained: the best DSC of all minus the best of the first three.

    The best counts because its parameters are kept. A validation at three quarters of the steps belongs to the first
    three; where there is none, the last quarter begins at the one before, so that a gain is rather seen than missed.

    Args:
        curve: See `read_curve`; it ends with the last step.

    Returns:
        Points of DSC in percent, 0 or more; None where there is no validation in one of both parts.
    """
    points = [(point['step'], point['dsc_after']) for point in curve if point['dsc_after'] is not None]
    if not points:
        return None
    begin = (1 - LAST_SHARE) * points[-1][0]
    before = [dsc for step, dsc in points if step <= begin]
    if not before:
        return None
    return 100 * (max(dsc for _, dsc in points) - max(before))


def has_converged(curve: Curve) -> bool | None:
    """Tell whether the last quarter of a training gained less than half a point of DSC; None where nothing tells."""
    gain = last_gain(curve)
    return None if gain is None else gain < CONVERGED_GAIN
