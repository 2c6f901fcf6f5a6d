"""One PNG for a registered pair: images, differences, deformation grid and Jacobian determinant, one row a plane."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from autofuse_jax.reports.canvas import Canvas, Painter, Sheet, canvas_for
from autofuse_jax.reports.colours import (
    FIXED_OUTLINE,
    FOLDED_COLOUR,
    JACOBIAN_SCALE,
    MOVING_OUTLINE,
    PALETTE,
    structure_colours,
)
from autofuse_jax.reports.display import View
from autofuse_jax.reports.html import is_number, number
from autofuse_jax.reports.painters import paint_difference, paint_fixed, paint_grid, paint_jacobian, paint_moving
from autofuse_jax.reports.registration_view import RegistrationView

# Pixels.
LARGEST_PANEL = 280, 360
# Wide and high enough for the words below and beside it.
LEAST_PANEL = 240, 116
GAP, MARGIN, FOOT, INSET = 8, 16, 14, 14
TITLE_HEIGHT, COLUMN_TITLE_HEIGHT, ROW_TITLE_WIDTH = 46, 24, 38
LINE_HEIGHT, BARS_HEIGHT = 23, 70
TITLE_POINTS, WORD_POINTS = 15, 11
NAME_LETTERS = 28

# What a column of a sheet shows in each plane.
Column = Callable[[View], Painter]


def pair_sheet(
    path: str | os.PathLike,
    registration: RegistrationView,
    *,
    title: str,
    names: Mapping[int, str],
    record: Mapping[str, Any],
) -> None:
    """Draw a registered pair into one PNG.

    Args:
        path: The PNG file to write; folders are made.
        registration: The registration; its displacement is finite.
        title: Heading.
        names: Label id to name of the structures, background left out.
        record: Scores of the pair: 'dsc_before_per_label' and 'dsc_after_per_label' (label id to 0..1 or NaN),
            'dsc_before', 'dsc_after', 'njd_percent' and 'sdlogj'; any may be missing.
    """
    columns = sheet_columns(registration, names)
    canvases = [row_canvas(registration, view) for view in registration.views]
    width = canvases[0].size[0]
    lines = score_lines(names, record)
    lefts = [MARGIN + ROW_TITLE_WIDTH + position * (width + GAP) for position in range(len(columns))]
    top = TITLE_HEIGHT + COLUMN_TITLE_HEIGHT
    foot = top + sum(canvas.size[1] + GAP for canvas in canvases) + FOOT
    sheet = Sheet(lefts[-1] + width + MARGIN, foot + max(BARS_HEIGHT, len(lines) * LINE_HEIGHT) + MARGIN)
    sheet.write(MARGIN, FOOT, title, fontsize=TITLE_POINTS)
    for left, name in zip(lefts, columns, strict=True):
        sheet.write(left + width / 2, top - GAP / 2, name, ha='center', va='bottom', fontsize=WORD_POINTS)
    for view, canvas in zip(registration.views, canvases, strict=True):
        height = canvas.size[1]
        sheet.write(
            MARGIN,
            top + height / 2,
            f'{view.plane}\n{view.place}',
            rotation=90,
            va='center',
            ha='left',
            multialignment='center',
        )
        for left, column in zip(lefts, columns.values(), strict=True):
            axes = sheet.axes(left, top, width, height)
            first = left == lefts[0] and view is registration.views[0]
            canvas.fill(axes, view, registration.shape_of(view), column(view), scale_bar=first)
        top += height + GAP
    draw_scores(sheet, lefts[0], foot, lines)
    draw_legend(sheet, lefts[2], foot, legend_of(registration, record))
    bars = (
        (lefts[3], 2 * width + GAP, registration.difference_scale),
        (lefts[5], width, registration.displacement_scale),
        (lefts[6], width, JACOBIAN_SCALE),
    )
    for left, length, scale in bars:
        sheet.colour_bar(left + INSET, foot, length - 2 * INSET, scale)
    sheet.save(path)


def row_canvas(registration: RegistrationView, view: View, largest: tuple[int, int] = LARGEST_PANEL) -> Canvas:
    """Return the canvas of a row: as wide as the widest plane, as high as its own, all planes on one scale."""
    common = canvas_for(registration.views, registration.display.shape, largest)
    own = canvas_for((view,), registration.display.shape)
    width, height = (least / common.scale for least in LEAST_PANEL)
    return dataclasses.replace(common, width=max(common.width, width), height=max(own.height, height))


def sheet_columns(registration: RegistrationView, names: Mapping[int, str]) -> dict[str, Column]:
    """Return the pictures of a registration by title."""
    return {
        'fixed': lambda view: paint_fixed(registration, view, names),
        'moving': lambda view: paint_moving(registration, view, names, after=False),
        'moving, warped': lambda view: paint_moving(registration, view, names, after=True),
        'difference before': lambda view: paint_difference(registration, view, after=False),
        'difference after': lambda view: paint_difference(registration, view, after=True),
        'deformation grid': lambda view: paint_grid(registration, view),
        'Jacobian determinant': lambda view: paint_jacobian(registration, view),
    }


# Colour or None, name, DSC % before, DSC % after.
ScoreLine = tuple[str | None, str, str, str]


def score_lines(names: Mapping[int, str], record: Mapping[str, Any]) -> list[ScoreLine]:
    """Return the lines of the table of DSC: a heading, the structures, the mean.

    Args:
        names: Label id to name of the structures, background left out.
        record: Scores, as for `pair_sheet`.

    Returns:
        Nothing where there are no structures; of more than the palette has colours those with the lowest DSC.
    """
    before, after = (record.get(f'dsc_{when}_per_label') or {} for when in ('before', 'after'))
    if not names:
        return []
    labels, colour_of = list(names), structure_colours(names)
    labels_with_score = [label for label in names if is_number(after.get(label))]
    heading = 'DSC %'
    if len(names) > len(PALETTE):
        labels, colour_of = sorted(labels_with_score, key=after.__getitem__)[: len(PALETTE)], {}
        heading = f'DSC %, lowest of {len(labels_with_score)}'
    lines: list[ScoreLine] = [(None, heading, 'before', 'after')]
    for label in labels:
        name = names[label] if len(names[label]) <= NAME_LETTERS else names[label][: NAME_LETTERS - 1] + '…'
        scores = [number(values.get(label), 1, 100) for values in (before, after)]
        lines.append((colour_of.get(label), name, scores[0], scores[1]))
    if after:
        means = [number(record.get(f'dsc_{when}'), 1, 100) for when in ('before', 'after')]
        lines.append((None, f'mean of {len(labels_with_score)}', means[0], means[1]))
    return lines


def draw_scores(
    sheet: Sheet, left: float, top: float, lines: list[ScoreLine], rights: tuple[float, float] = (395, 455)
) -> None:
    """Write a table of scores at a place of a sheet.

    Args:
        sheet: Page to draw on.
        left: Pixels.
        top: Pixels.
        lines: Lines of `score_lines`.
        rights: Right ends of the two columns of numbers, pixels from `left`.
    """
    for row, (colour, name, before, after) in enumerate(lines):
        height = top + row * LINE_HEIGHT
        if colour:
            sheet.mark(left, height + LINE_HEIGHT / 3 - 2, colour)
        sheet.write(left + 32, height, name, fontsize=WORD_POINTS)
        for place, text in zip(rights, (before, after), strict=True):
            sheet.write(left + place, height, text, fontsize=WORD_POINTS, ha='right')


def legend_of(registration: RegistrationView, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the colour of each kind of outline and of folded voxels, with the share of these."""
    fixed_labels, *moving_labels = registration.labels
    legend = {'fixed labels' if fixed_labels is not None else 'edges of the fixed image': FIXED_OUTLINE}
    if any(labels is not None for labels in moving_labels):
        legend['moving labels'] = MOVING_OUTLINE
    return legend | {f'folded: {number(record.get("njd_percent"), 3)} % of voxels': FOLDED_COLOUR}


def draw_legend(sheet: Sheet, left: float, top: float, legend: Mapping[str, str]) -> None:
    """Write what colours stand for, one below the other."""
    for row, (text, colour) in enumerate(legend.items()):
        height = top + row * LINE_HEIGHT
        sheet.mark(left, height + LINE_HEIGHT / 3 - 2, colour)
        sheet.write(left + 30, height, text, fontsize=WORD_POINTS)
