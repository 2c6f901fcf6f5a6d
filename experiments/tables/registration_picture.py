"""Draw docs/images/registration.png: two frames of a synthetic heart, registered by instance optimisation.

    python -m experiments.tables.registration_picture

Nothing is drawn at random from run to run, so the same versions draw the same picture; it takes about a minute.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax import register_images
from autofuse_jax.data.phantom import CLASSES, random_phantom, render_frame
from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent
from autofuse_jax.metrics.overlap import dice_per_label, mean_dice
from autofuse_jax.reports.canvas import Sheet
from autofuse_jax.reports.colours import JACOBIAN_SCALE
from autofuse_jax.reports.pair_sheet import (
    GAP,
    MARGIN,
    draw_legend,
    draw_scores,
    legend_of,
    row_canvas,
    score_lines,
    sheet_columns,
)
from autofuse_jax.reports.registration_view import RegistrationView, view_registration

PICTURE = Path(__file__).resolve().parents[2] / 'docs' / 'images' / 'registration.png'
NAMES = {label: name for label, name in CLASSES.items() if label}
SEED, SHAPE, SPACING = 3, (128, 128, 12), (1.5, 1.5, 8.0)
# Less than the phantom's usual 0.015 to 0.03: noise is most of a PNG file, and hides the borders in a small picture.
NOISE = 0.004
# Voxels drawn along the first two axes: the heart and what is around it.
MARGIN_VOXELS = 10
# A third of the way from the base of the heart to its apex, where all structures are large.
SLICE_SHARE = 0.35
# Pixels of a panel; four of them are as wide as a page of README.
PANEL = 276
TITLE_HEIGHT, BAR_HEIGHT, LINES_LEFT = 30, 64, 14
TITLES = {'fixed': 'fixed: end of diastole', 'moving': 'moving: end of systole', 'moving, warped': 'moving, registered'}

WORDS = 'A synthetic heart, registered by its\nimages alone, without training.\nThe labels serve for scores only.'


def register_phantom() -> tuple[RegistrationView, dict[str, Any]]:
    """Register the end of systole of a phantom to its end of diastole, and score it by labels that it never sees.

    Returns:
        What to draw, and the scores of the pair.
    """
    phantom = random_phantom(np.random.default_rng(SEED), shape=SHAPE, spacing=SPACING)
    phantom = dataclasses.replace(phantom, noise=NOISE)
    affine = np.diag([-SPACING[0], *SPACING[1:], 1.0])
    fixed, moving = (Volume(*render_frame(phantom, frame), affine, f'frame {frame}') for frame in (1, phantom.systole))
    result = register_images(fixed, moving)
    displacement = result.transform.displacement
    determinant = jacobian_determinant(displacement)
    before = dice_per_label(fixed.labels, moving.labels, NAMES)
    after = dice_per_label(fixed.labels, result.moved_labels, NAMES)
    inner = (slice(MARGIN_VOXELS, -MARGIN_VOXELS),) * 2
    registration = view_registration(
        fixed=fixed.image[inner],
        before=moving.image[inner],
        after=result.moved[inner],
        displacement=displacement[inner],
        jacobian=determinant[inner],
        affine=affine,
        labels=tuple(labels[inner] for labels in (fixed.labels, moving.labels, result.moved_labels)),
    )
    return registration, {
        'dsc_before': mean_dice(before),
        'dsc_after': mean_dice(after),
        'dsc_before_per_label': before,
        'dsc_after_per_label': after,
        'njd_percent': njd_percent(determinant),
    }


def draw(path: Path, registration: RegistrationView, record: dict[str, Any]) -> None:
    """Draw one slice: the images above, what tells them apart below.

    Args:
        path: The PNG file to write.
        registration: What to show.
        record: Scores of the pair, see `pair_sheet`.
    """
    levels = np.flatnonzero((registration.labels[0] > 0).any((0, 1)))
    view = registration.display.view(2, int(levels[round(SLICE_SHARE * (levels.size - 1))]))
    registration = dataclasses.replace(registration, views=(view,))
    canvas = row_canvas(registration, view, (PANEL, PANEL))
    width, height = canvas.size
    lefts = [MARGIN + position * (width + GAP) for position in range(4)]
    tops = [TITLE_HEIGHT, 2 * TITLE_HEIGHT + height]
    sheet = Sheet(lefts[3] + width + MARGIN, tops[1] + height + GAP + BAR_HEIGHT)
    places = [(left, tops[0]) for left in lefts[:3]] + [(left, tops[1]) for left in lefts]
    for (left, top), (name, column) in zip(places, sheet_columns(registration, NAMES).items(), strict=True):
        sheet.write(left + width / 2, top - GAP / 2, TITLES.get(name, name), ha='center', va='bottom', fontsize=12)
        axes = sheet.axes(left, top, width, height)
        canvas.fill(axes, view, registration.shape_of(view), column(view), scale_bar=name == 'fixed')
    lines = score_lines(NAMES, record)
    draw_scores(sheet, lefts[3] + LINES_LEFT, tops[0] + GAP, lines, (210, 262))
    draw_legend(sheet, lefts[3] + LINES_LEFT, tops[0] + 2 * GAP + 25 * len(lines), legend_of(registration, record))
    sheet.write(lefts[3] + LINES_LEFT, tops[0] + height, WORDS, va='bottom', linespacing=1.4)
    bars = (
        (lefts[0], 2 * width + GAP, registration.difference_scale),
        (lefts[2], width, registration.displacement_scale),
        (lefts[3], width, JACOBIAN_SCALE),
    )
    for left, length, scale in bars:
        sheet.colour_bar(left + LINES_LEFT, tops[1] + height + GAP, length - 2 * LINES_LEFT, scale)
    sheet.save(path)


def main(argv: Sequence[str] | None = None) -> None:
    """Register and draw.

    Args:
        argv: Arguments without the program name; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=PICTURE, help='PNG file, default docs/images/registration.png')
    draw(parser.parse_args(argv).out, *register_phantom())


if __name__ == '__main__':
    main()
