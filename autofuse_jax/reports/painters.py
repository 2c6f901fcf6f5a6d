"""The pictures of one registration in one plane, each as a function that draws into axes in millimetres."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from scipy import ndimage

from autofuse_jax.reports import panels
from autofuse_jax.reports.canvas import Painter
from autofuse_jax.reports.colours import (
    FIXED_OUTLINE,
    JACOBIAN_SCALE,
    MOVING_OUTLINE,
    PALETTE,
    structure_colours,
)
from autofuse_jax.reports.display import View
from autofuse_jax.reports.registration_view import RegistrationView

# In points; thin lines where many structures lie side by side, so that the image stays visible.
OUTLINE_WIDTH, THIN_OUTLINE_WIDTH = 1.1, 0.55
# About this many squares along the longer side of a checkerboard.
CHECKER_SQUARES = 9
# Lines along the longer side of a deformation grid.
GRID_LINES = 24
# Image under the deformation grid, dimmed so that the lines stand out.
DIMMED = 0.45
# Rings around groups of folded voxels, so that a single one is seen; more than this many would cover the map.
MOST_RINGS = 60


def paint_fixed(registration: RegistrationView, view: View, names: Mapping[int, str]) -> Painter:
    """Fixed image, each structure outlined in its own colour (`structure_colours` of the names)."""
    labels = registration.labels[0]

    def paint(axes: Axes) -> None:
        panels.show(axes, view, registration.greys(view)[0])
        if labels is not None:
            panels.outlines(axes, view, view.cut(labels), structure_colours(names), _outline_width(names))

    return paint


def paint_moving(registration: RegistrationView, view: View, names: Mapping[int, str], *, after: bool) -> Painter:
    """Moving image before or after registration with the outlines of the fixed labels, or edges of the fixed image
    where it has none, and of its own labels.
    """
    fixed_labels, labels = registration.labels[0], registration.labels[2 if after else 1]

    def paint(axes: Axes) -> None:
        fixed, *moving = registration.greys(view)
        panels.show(axes, view, moving[after])
        if fixed_labels is not None:
            panels.outlines(axes, view, view.cut(fixed_labels), FIXED_OUTLINE, _outline_width(names))
        else:
            panels.edges(axes, view, fixed, FIXED_OUTLINE)
        if labels is not None:
            panels.outlines(axes, view, view.cut(labels), MOVING_OUTLINE, _outline_width(names))

    return paint


def paint_checkerboard(registration: RegistrationView, view: View, side: float, *, after: bool) -> Painter:
    """Squares, `side` millimetres wide, of the fixed and the moving image in turn."""

    def paint(axes: Axes) -> None:
        fixed, *moving = registration.greys(view)
        panels.show(axes, view, panels.checkerboard(view, fixed, moving[after], side), interpolation='nearest')

    return paint


def paint_difference(registration: RegistrationView, view: View, *, after: bool) -> Painter:
    """Absolute difference of grey values to the fixed image, before or after registration on one scale."""

    def paint(axes: Axes) -> None:
        scale = registration.difference_scale
        panels.show(axes, view, registration.differences(view)[after], cmap=scale.colour_map, vmax=scale.norm.vmax)

    return paint


def paint_grid(registration: RegistrationView, view: View) -> Painter:
    """Lines of the fixed grid where the transform looks in the moving image, both after the affine part alone."""

    def paint(axes: Axes) -> None:
        points, rest = registration.local_displacement(view)
        places = ((points + rest) * registration.display.spacing)[..., list(view.across)]
        lengths, scale = registration.lengths_mm(rest), registration.displacement_scale
        panels.show(axes, view, DIMMED * registration.affinely_moved(view))
        panels.grid_lines(
            axes, view, places, lengths, GRID_LINES, cmap=scale.colour_map, norm=scale.norm, linewidths=1.0
        )

    return paint


def paint_jacobian(registration: RegistrationView, view: View) -> Painter:
    """Jacobian determinant, equal steps for equal factors; folded voxels in their own colour, with rings."""

    def paint(axes: Axes) -> None:
        plane = view.cut(registration.jacobian)
        # Forward differences lie between voxel centres: the first one is half a voxel in.
        shift = 0.5 if registration.jacobian.shape != registration.fixed.shape else 0.0
        bad = ~np.isfinite(plane) | (plane <= 0)
        axes.imshow(
            np.ma.array(np.where(bad, 1.0, plane), mask=bad),
            cmap=JACOBIAN_SCALE.colour_map,
            norm=JACOBIAN_SCALE.norm,
            extent=view.extent(plane.shape[0], plane.shape[1], shift=shift),
            interpolation='nearest',
        )
        groups, count = ndimage.label(bad, np.ones((3, 3)))
        if 0 < count <= MOST_RINGS:
            rows, columns = np.transpose(ndimage.center_of_mass(bad, groups, range(1, count + 1)))
            right, down = view.spacing
            axes.scatter((columns + shift) * right, (rows + shift) * down, s=90, facecolors='none', edgecolors='black')

    return paint


def _outline_width(names: Mapping[int, str]) -> float:
    return OUTLINE_WIDTH if len(names) <= len(PALETTE) else THIN_OUTLINE_WIDTH
