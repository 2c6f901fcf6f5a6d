"""Training loss and validation score against the step, from the rows of `metrics.jsonl`."""

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from autofuse_jax.files import replacing

DOTS_PER_INCH = 110
# A running mean over this share of the rows shows the trend of a loss that differs from pair to pair.
SMOOTHING_SHARE = 0.05


def curve_picture(
    path: str | os.PathLike,
    metrics: Iterable[Mapping[str, Any]],
    *,
    loss_key: str = 'loss',
    dsc_key: str = 'validation_dsc',
) -> None:
    """Draw the training loss and the validation DSC of a run into one PNG.

    Args:
        path: The PNG file to write; folders are made.
        metrics: Rows with 'step' and any of the two keys below, in any order; a run that was resumed may hold a step
            twice, and the later row counts.
        loss_key: Key of the training loss.
        dsc_key: Key of the mean validation DSC, in [0, 1].
    """
    rows = list(metrics)
    figure = Figure(figsize=(11, 4.2), dpi=DOTS_PER_INCH, layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps, losses = _series(rows, loss_key)
    left.set_title('training loss')
    if steps.size:
        left.plot(steps, losses, color='0.75', linewidth=0.8, label='per logged step')
        window = max(1, round(SMOOTHING_SHARE * steps.size))
        if window > 1:
            kernel = np.full(window, 1 / window)
            middle = np.convolve(steps, kernel, mode='valid'), np.convolve(losses, kernel, mode='valid')
            left.plot(*middle, color='#1f4e9c', linewidth=1.8, label=f'mean of {window}')
            left.legend(frameon=False)
    steps, scores = _series(rows, dsc_key)
    right.set_title('validation DSC %')
    if steps.size:
        right.plot(steps, 100 * scores, color='#b3261e', marker='o', markersize=3, linewidth=1.4)
        best = int(np.argmax(scores))
        right.axvline(steps[best], color='0.6', linewidth=0.8, linestyle='--', zorder=0)
        right.set_title(f'validation DSC %: best {100 * scores[best]:.1f} at step {steps[best]:.0f}')
    for panel in (left, right):
        _finish(panel)
    with replacing(path) as temporary:
        figure.savefig(temporary, format='png')


def _series(rows: list[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps in rising order and their finite values."""
    values = {
        int(row['step']): float(row[key])
        for row in rows
        if 'step' in row and row.get(key) is not None and math.isfinite(row[key])
    }
    steps = sorted(values)
    return np.array(steps, float), np.array([values[step] for step in steps])


def _finish(panel: Axes) -> None:
    panel.set_xlabel('step')
    panel.grid(color='0.9', linewidth=0.6)
    panel.spines[['top', 'right']].set_visible(False)
    if not panel.lines:
        panel.text(0.5, 0.5, 'nothing logged', transform=panel.transAxes, ha='center', color='0.5')
