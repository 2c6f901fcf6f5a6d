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
from autofuse_jax.reports.canvas import png_of
from autofuse_jax.reports.colours import FAINT, PALETTE, on_white

WIDTH_INCHES, HEIGHT_INCHES = 11.0, 4.2
DOTS_PER_INCH = 110
# A running mean over this share of the rows shows the trend of a loss that differs from pair to pair.
SMOOTHING_SHARE = 0.05


def curve_picture(
    path: str | os.PathLike,
    metrics: Iterable[Mapping[str, Any]],
    *,
    loss_key: str = 'loss',
    dsc_key: str = 'validation_dsc',
    phases: Mapping[str, int] | None = None,
) -> None:
    """Draw the training loss and the validation DSC of a run into one PNG.

    Args:
        path: The PNG file to write; folders are made.
        metrics: Rows with 'step' and any of the two keys below, in any order; a run that was resumed may hold a step
            twice, and the later row counts.
        loss_key: Key of the training loss.
        dsc_key: Key of the mean validation DSC, in [0, 1].
        phases: Step before the first one of each phase, by the name of the phase; those that were reached are marked.
    """
    rows = list(metrics)
    canvas, (left, right) = two_panels(HEIGHT_INCHES)
    steps, losses = _series(rows, loss_key)
    left.set_title('training loss')
    if steps.size:
        left.plot(steps, losses, color=FAINT, linewidth=0.8, label='logged steps')
        window = max(1, round(SMOOTHING_SHARE * steps.size))
        if window > 1:
            kernel = np.full(window, 1 / window)
            middle = np.convolve(steps, kernel, mode='valid'), np.convolve(losses, kernel, mode='valid')
            left.plot(*middle, color=on_white(PALETTE[7]), linewidth=1.8, label=f'running mean of {window}')
            left.legend(frameon=False)
    steps, scores = _series(rows, dsc_key)
    right.set_title('validation DSC %')
    if steps.size:
        right.plot(steps, 100 * scores, color=on_white(PALETTE[7]), marker='o', markersize=3, linewidth=1.4)
        best = int(np.argmax(scores))
        right.axvline(steps[best], color='0.6', linewidth=0.8, linestyle='--', zorder=0)
        right.set_title(f'validation DSC %: best {100 * scores[best]:.1f} at step {steps[best]:.0f}')
    # Both panels have the same steps at the same place.
    last = max([1.0, *_series(rows, loss_key)[0], *steps])
    for panel in (left, right):
        panel.set_xlim(0, 1.02 * last)
        _mark_phases(panel, {name: step for name, step in (phases or {}).items() if step < last})
        finish_axes(panel, 'step')
        if not panel.lines:
            panel.text(0.5, 0.5, 'nothing logged', transform=panel.transAxes, ha='center', color='0.5')
    with replacing(path) as temporary:
        temporary.write_bytes(png_of(canvas))


def _mark_phases(panel: Axes, phases: Mapping[str, int]) -> None:
    """Draw a line where a phase begins, with its name beside it; one phase alone needs no mark."""
    for name, step in phases.items() if len(phases) > 1 else ():
        if step:
            panel.axvline(step, color='0.75', linewidth=0.8, linestyle=':', zorder=0)
        # Along the line, just above the axis: (step, share of the height).
        place = panel.get_xaxis_transform()
        panel.text(
            step, 0.02, f' {name}', transform=place, color='0.5', fontsize=7, rotation=90, va='bottom', ha='left'
        )


def _series(rows: list[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps in rising order and their finite values."""
    values = {
        int(row['step']): float(row[key])
        for row in rows
        if 'step' in row and row.get(key) is not None and math.isfinite(row[key])
    }
    steps = sorted(values)
    return np.array(steps, float), np.array([values[step] for step in steps])


def two_panels(height: float) -> tuple[FigureCanvasAgg, tuple[Axes, Axes]]:
    """Return a figure for line plots, with two panels side by side, `height` inches high."""
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    return canvas, (left, right)


def size_in_pixels(height: float) -> tuple[int, int]:
    """Return width and height of `two_panels`."""
    return round(WIDTH_INCHES * DOTS_PER_INCH), round(height * DOTS_PER_INCH)


def finish_axes(axes: Axes, label: str) -> None:
    """Name the horizontal axis and draw pale grid lines without a frame."""
    axes.set_xlabel(label)
    axes.grid(color='0.9', linewidth=0.6)
    axes.spines[['top', 'right']].set_visible(False)
