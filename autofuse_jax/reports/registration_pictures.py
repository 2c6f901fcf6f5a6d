"""The pictures of one registration, before and after, in sections with a sentence on how to read them."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from autofuse_jax.reports import panels
from autofuse_jax.reports.display import View
from autofuse_jax.reports.html import Html, colour_bar, number, section, tag
from autofuse_jax.reports.pictures import PALETTE, SMALLEST_ERROR_SCALE
from autofuse_jax.reports.registration_view import Shown, chip, ramp, side_by_side

# About this many squares along the longer side of a checkerboard.
CHECKER_SQUARES = 9
# In points.
OUTLINE_WIDTH, THIN_OUTLINE_WIDTH = 1.1, 0.55
DIFFERENCE_MAP = matplotlib.colormaps['inferno']


def images_section(shown: Shown, names: Mapping[int, str]) -> Html:
    """Fixed image, moving image before and after, with the outlines of the structures or, without labels, edges.

    Args:
        shown: As returned by `prepare`.
        names: Label id to name of the structures, background left out.

    Returns:
        The section.
    """
    fixed_labels, before_labels, after_labels = shown.labels
    # Thin lines where many structures lie side by side, so that the image stays visible.
    width = OUTLINE_WIDTH if len(names) <= len(PALETTE) else THIN_OUTLINE_WIDTH
    own = {label: PALETTE[position % len(PALETTE)] for position, label in enumerate(names)}
    groups = []
    for view in shown.views:
        fixed, before, after = shown.greys(view)

        def painter(axes: Axes, image: np.ndarray, moving: np.ndarray | None, view: View = view, fixed=fixed) -> None:
            panels.show(axes, view, image)
            if fixed_labels is not None:
                panels.outlines(axes, view, view.cut(fixed_labels), panels.FIXED_OUTLINE, width)
            else:
                panels.edges(axes, view, fixed, panels.FIXED_OUTLINE)
            if moving is not None:
                panels.outlines(axes, view, view.cut(moving), panels.MOVING_OUTLINE, width)

        def alone(axes: Axes, view: View = view, fixed=fixed) -> None:
            panels.show(axes, view, fixed)
            if fixed_labels is not None:
                panels.outlines(axes, view, view.cut(fixed_labels), own, width)

        groups.append(
            [
                shown.draw(view, alone, 'fixed', f'fixed: {view.name}'),
                shown.draw(view, lambda axes, p=painter, b=before: p(axes, b, before_labels), 'moving, before'),
                shown.draw(view, lambda axes, p=painter, a=after: p(axes, a, after_labels), 'moved, after'),
            ]
        )
    kind = 'outlines of the fixed labels' if fixed_labels is not None else 'edges of the fixed image'
    words = ['On the moving image, before and after: ', chip(panels.FIXED_OUTLINE), kind]
    if before_labels is not None or after_labels is not None:
        words += [' and ', chip(panels.MOVING_OUTLINE), 'outlines of the moving labels']
    words.append('. They should lie on the same borders of tissue after registration. ')
    words.append('Patient sides as in radiology viewers: the patient’s right is on the left of the picture.')
    legend = None
    if fixed_labels is not None and 0 < len(names) <= len(PALETTE):
        legend = tag('p', 'Fixed image: ', [[chip(own[label]), name, '  '] for label, name in names.items()])
    return section('Images', tag('p', words), legend, side_by_side(groups))


def checkerboard_section(shown: Shown) -> Html:
    """Squares of the fixed and the moving image in turn, before and after."""
    groups = []
    side = max(shown.canvas.width, shown.canvas.height) / CHECKER_SQUARES
    for view in shown.views:
        fixed, before, after = shown.greys(view)
        boards = [panels.checkerboard(view, fixed, other, side) for other in (before, after)]
        groups.append(
            [
                shown.draw(view, lambda axes, b=board, v=view: panels.show(axes, v, b, interpolation='nearest'), *words)
                for board, words in zip(boards, _before_and_after('checkerboard'), strict=True)
            ]
        )
    text = 'Squares of the fixed and the moving image in turn. Borders of tissue should run on from square to square.'
    return section('Checkerboard', tag('p', text), side_by_side(groups))


def difference_section(shown: Shown) -> Html:
    """Absolute differences of the grey values to the fixed image, before and after on one scale."""
    pairs = []
    for view in shown.views:
        fixed, before, after = shown.greys(view)
        pairs.append((view, np.abs(before - fixed), np.abs(after - fixed)))
    # The 99.5th percentile: a few outliers should not turn the rest of the pictures black.
    limit = max(SMALLEST_ERROR_SCALE, max(float(np.percentile(before, 99.5)) for _, before, _ in pairs))
    settings = {'cmap': DIFFERENCE_MAP, 'vmax': limit}
    groups = [
        [
            shown.draw(view, lambda axes, d=difference, v=view: panels.show(axes, v, d, **settings), *words)
            for difference, words in zip((before, after), _before_and_after('difference'), strict=True)
        ]
        for view, before, after in pairs
    ]
    text = (
        '|fixed − moving| before and after on one scale, of grey values brought to 0–1 by each image’s own window. '
        'It says little where the two images were taken with different contrast.'
    )
    bar = colour_bar(ramp(DIFFERENCE_MAP), [number(share * limit, 2) for share in (0, 0.5, 1)], 'difference')
    return section('Difference', tag('p', text), side_by_side(groups), bar)


def _before_and_after(kind: str) -> list[tuple[str, str]]:
    """What two pictures show, and their captions."""
    return [(f'{kind} {when} registration', when) for when in ('before', 'after')]
