"""The sections of a report page with the pictures of one registration, each with a sentence on how to read them."""

from collections.abc import Callable, Mapping

import numpy as np

from autofuse_jax.reports.canvas import Painter, canvas_for
from autofuse_jax.reports.colours import (
    FIXED_OUTLINE,
    FOLDED_COLOUR,
    JACOBIAN_SCALE,
    MOVING_OUTLINE,
    PALETTE,
    Scale,
    structure_colours,
)
from autofuse_jax.reports.display import View
from autofuse_jax.reports.html import Html, chip, colour_bar, number, picture, section, side_by_side, tag
from autofuse_jax.reports.painters import (
    CHECKER_SQUARES,
    paint_checkerboard,
    paint_difference,
    paint_fixed,
    paint_grid,
    paint_jacobian,
    paint_moving,
)
from autofuse_jax.reports.registration_view import RegistrationView


def images_section(registration: RegistrationView, names: Mapping[int, str]) -> Html:
    """Fixed image, moving image before and after, with the outlines of the structures or, without labels, edges.

    Args:
        registration: The registration.
        names: Label id to name of the structures, background left out.

    Returns:
        The section.
    """
    fixed_labels, *moving_labels = registration.labels
    groups = []
    for view in registration.views:
        # The only picture with a scale bar: all have one scale.
        fixed = paint_fixed(registration, view, names)
        group = [_figure(registration, view, fixed, 'fixed', f'fixed: {view.name}', scale_bar=True)]
        for what, after in (('moving, before', False), ('moved, after', True)):
            group.append(_figure(registration, view, paint_moving(registration, view, names, after=after), what))
        groups.append(group)
    kind = 'outlines of the fixed labels' if fixed_labels is not None else 'edges of the fixed image'
    words = ['On the moving image, before and after: ', chip(FIXED_OUTLINE), kind]
    if any(labels is not None for labels in moving_labels):
        words += [' and ', chip(MOVING_OUTLINE), 'outlines of the moving labels']
    words.append('. They should lie on the same borders of tissue after registration. ')
    words.append('Patient sides as in radiology viewers: the patient’s right is on the left of the picture.')
    legend = None
    if fixed_labels is not None and 0 < len(names) <= len(PALETTE):
        colour_of = structure_colours(names)
        legend = tag('p', 'Fixed image: ', [[chip(colour_of[label]), name, '  '] for label, name in names.items()])
    return section('Images', tag('p', words), legend, side_by_side(groups))


def checkerboard_section(registration: RegistrationView) -> Html:
    """Squares of the fixed and the moving image in turn, before and after."""
    canvas = canvas_for(registration.views, registration.display.shape)
    side = max(canvas.width, canvas.height) / CHECKER_SQUARES

    def paint(view: View, after: bool) -> Painter:
        return paint_checkerboard(registration, view, side, after=after)

    text = 'Squares of the fixed and the moving image in turn. Borders of tissue should run on from square to square.'
    return section('Checkerboard', tag('p', text), _before_and_after(registration, 'checkerboard', paint))


def difference_section(registration: RegistrationView) -> Html:
    """Absolute differences of the grey values to the fixed image, before and after on one scale."""

    def paint(view: View, after: bool) -> Painter:
        return paint_difference(registration, view, after=after)

    text = (
        '|fixed − moving| before and after on one scale, of grey values brought to 0–1 by each image’s own window. '
        'It says little where the two images were taken with different contrast.'
    )
    bar = _bar(registration.difference_scale)
    return section('Difference', tag('p', text), _before_and_after(registration, 'difference', paint), bar)


def deformation_section(registration: RegistrationView, folded: str) -> Html:
    """The deformation grid without its affine part, and the map of the Jacobian determinant of the whole transform.

    Args:
        registration: The registration; its displacement is finite.
        folded: A sentence on folded voxels.

    Returns:
        The section.
    """
    part = registration.affine_part
    folds = (registration.jacobian <= 0).any()
    groups = [
        [
            _figure(
                registration, view, paint_grid(registration, view), 'deformation grid', f'deformation grid: {view.name}'
            ),
            _figure(registration, view, paint_jacobian(registration, view), 'Jacobian determinant'),
        ]
        for view in registration.views
    ]
    text = (
        'The grid shows where the transform looks in the moving image, after its affine part '
        f'(shift {number(part.shift_mm, 1)} mm at the middle of the grid, '
        f'rotation {number(part.rotation_degrees, 1)}°, volume × {number(part.volume_factor, 3)}) is taken away; '
        f'what is left is {number(part.rest_mean_mm, 2)} mm on average and {number(part.rest_max_mm, 1)} mm at most. '
        'The Jacobian determinant of the whole transform is above 1 (red) where the moving image shows a place larger '
        'than the fixed one.'
    )
    bars = tag('div', _bar(registration.displacement_scale), _bar(JACOBIAN_SCALE), class_='bars')
    folds_line = tag('p', chip(FOLDED_COLOUR) if folds else None, folded)
    worst = [tag('h3', 'Through the worst fold'), side_by_side(_worst_fold(registration))] if folds else None
    return section('Deformation', tag('p', text), folds_line, side_by_side(groups), bars, worst)


def folding_sentence(jacobian: np.ndarray) -> str:
    """Say how many voxels fold and where the smallest determinant is.

    Args:
        jacobian: Determinant in the file's own axis order.

    Returns:
        A sentence.
    """
    finite = np.isfinite(jacobian)
    if not finite.any():
        return 'No determinant is known.'
    index = np.unravel_index(np.argmin(np.where(finite, jacobian, np.inf)), jacobian.shape)
    place = f'smallest determinant {number(jacobian[index], 3)} at voxel ({", ".join(str(int(i)) for i in index)})'
    count = int(np.count_nonzero(jacobian <= 0))
    if not count:
        return f'No voxel folds; {place}.'
    share = number(100 * count / jacobian.size, 4)
    return f'{count:,} {"voxel folds" if count == 1 else "voxels fold"} ({share} % of the grid); {place}.'


def _before_and_after(registration: RegistrationView, kind: str, paint: Callable[[View, bool], Painter]) -> Html:
    """The same picture of every plane before and after registration."""

    def figure(view: View, when: str) -> Html:
        return _figure(registration, view, paint(view, when == 'after'), f'{kind} {when} registration', when)

    return side_by_side([[figure(view, when) for when in ('before', 'after')] for view in registration.views])


def _bar(scale: Scale) -> Html:
    return colour_bar(scale.ramp, list(scale.ticks.values()), scale.label)


def _worst_fold(registration: RegistrationView) -> list[list[Html]]:
    """The Jacobian determinant in planes through the smallest one."""
    jacobian = registration.jacobian
    place = np.unravel_index(np.argmin(np.where(np.isfinite(jacobian), jacobian, np.inf)), jacobian.shape)
    axes = dict.fromkeys(view.axis for view in registration.views)
    views = [registration.display.view(axis, int(place[axis]), jacobian.shape[axis]) for axis in axes]
    what = 'Jacobian determinant at the worst fold'
    return [[_figure(registration, view, paint_jacobian(registration, view), what, view.name)] for view in views]


def _figure(
    registration: RegistrationView,
    view: View,
    painter: Painter,
    what: str,
    caption: str | None = None,
    *,
    scale_bar: bool = False,
) -> Html:
    """One picture; its caption is what it shows unless another one is given."""
    canvas = canvas_for(registration.views, registration.display.shape)
    png = canvas.draw(view, registration.shape_of(view), painter, scale_bar=scale_bar)
    return picture(png, f'{what}, {view.name}', caption or what, canvas.size)
