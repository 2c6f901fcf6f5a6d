"""Pictures inside a notebook: chosen panels of one plane of a registration, side by side."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from autofuse_jax.files import replacing
from autofuse_jax.reports.canvas import Sheet
from autofuse_jax.reports.colours import JACOBIAN_SCALE, Scale
from autofuse_jax.reports.pair_sheet import GAP, MARGIN, WORD_POINTS, row_canvas, sheet_columns
from autofuse_jax.reports.registration_view import RegistrationView

FIXED, MOVING, MOVED = 'fixed', 'moving', 'moving, warped'
DIFFERENCE_BEFORE, DIFFERENCE_AFTER = 'difference before', 'difference after'
GRID, JACOBIAN = 'deformation grid', 'Jacobian determinant'
IMAGES = (FIXED, MOVING, MOVED)
# Pixels: three panels are as wide as the column of a notebook.
PANEL = 260, 300
HEADING, BAR_HEIGHT, INSET = 26, 60, 14


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that a notebook shows where it is the last value of a cell.

    Attributes:
        png: Content of a PNG file.
    """

    png: bytes = dataclasses.field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | os.PathLike) -> None:
        """Write the PNG file; folders are made."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.png)


def one_plane(registration: RegistrationView) -> RegistrationView:
    """Return a view with one of its planes: the first of three, the middle one of a stack of slices."""
    views = registration.views
    stack = len({view.axis for view in views}) == 1
    return dataclasses.replace(registration, views=(views[len(views) // 2 if stack else 0],))


def panels_picture(
    registration: RegistrationView, panels: Sequence[str] = IMAGES, names: Mapping[int, str] | None = None
) -> Picture:
    """Draw panels of a registration in one plane, see `one_plane`, with the colour bars that they need.

    Args:
        registration: The registration.
        panels: Titles of the panels, from left to right, see `pair_sheet.sheet_columns`; default the three images.
        names: Label id to name of the structures that are outlined, background left out; default none.

    Returns:
        The picture.

    Raises:
        ValueError: There is no such panel.
    """
    registration = one_plane(registration)
    columns = sheet_columns(registration, names or {})
    unknown = [name for name in panels if name not in columns]
    if unknown:
        raise ValueError(f'there is no panel {unknown[0]!r}, only {", ".join(columns)}')
    (view,) = registration.views
    canvas = row_canvas(registration, view, PANEL)
    width, height = canvas.size
    bars = {name: scale for name in panels if (scale := _scale(registration, name)) is not None}
    foot = HEADING + height + GAP
    sheet = Sheet(2 * MARGIN + len(panels) * (width + GAP) - GAP, foot + (BAR_HEIGHT if bars else 0))
    for position, name in enumerate(panels):
        left = MARGIN + position * (width + GAP)
        sheet.write(left + width / 2, HEADING - GAP / 2, name, ha='center', va='bottom', fontsize=WORD_POINTS)
        axes = sheet.axes(left, HEADING, width, height)
        canvas.fill(axes, view, registration.shape_of(view), columns[name](view), scale_bar=position == 0)
        if name in bars:
            sheet.colour_bar(left + INSET, foot, width - 2 * INSET, bars[name])
    return Picture(sheet.png())


def _scale(registration: RegistrationView, name: str) -> Scale | None:
    """Colours of a panel; None for a panel of grey values."""
    if name in (DIFFERENCE_BEFORE, DIFFERENCE_AFTER):
        return registration.difference_scale
    if name == GRID:
        return registration.displacement_scale
    return JACOBIAN_SCALE if name == JACOBIAN else None
