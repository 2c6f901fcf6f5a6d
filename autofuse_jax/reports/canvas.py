"""Canvases: one size and scale in true millimetres for all pictures of a page, and sheets that hold several of them."""

import dataclasses
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from autofuse_jax.files import replacing
from autofuse_jax.reports.colours import Scale
from autofuse_jax.reports.display import View

# Sharp on a page of three columns, and small enough for thirty pictures in one file.
LARGEST_SIZE = 400, 480
DOTS_PER_INCH = 100
LETTER_POINTS = 10
# Round lengths of a scale bar in millimetres; the longest that is at most a quarter of the picture's width.
BAR_LENGTHS_MM = (*(step * 10.0**power for power in range(-4, 2) for step in (1, 2, 5)), 100.0)
# Red, green and blue are rounded to multiples of 4: nobody sees it in a picture, and the file is a third smaller.
KEPT_BITS = np.uint8(0b11111100)
# Height of a colour bar on a sheet in pixels.
COLOUR_BAR_PIXELS = 12

# Draws into axes whose coordinates are millimetres, the centre of the first voxel at (0, 0), rows running downwards.
Painter = Callable[[Axes], None]


@dataclasses.dataclass(frozen=True)
class Canvas:
    """One size and scale for all pictures of a page.

    Attributes:
        width: Millimetres.
        height: Millimetres.
        scale: Pixels per millimetre.
    """

    width: float
    height: float
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return max(1, round(self.width * self.scale)), max(1, round(self.height * self.scale))

    def draw(self, view: View, shape: tuple[int, int], painter: Painter, *, scale_bar: bool = False) -> bytes:
        """Draw one picture.

        Args:
            view: The plane, for the sides.
            shape: (rows, columns) of the plane in voxels.
            painter: Draws into axes whose coordinates are millimetres, the centre of the first voxel at (0, 0), rows
                running downwards.
            scale_bar: Whether a bar of a round length is drawn.

        Returns:
            Content of a PNG file.
        """
        width, height = (pixels / DOTS_PER_INCH for pixels in self.size)
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor='black')
        canvas = FigureCanvasAgg(figure)
        self.fill(figure.add_axes((0, 0, 1, 1)), view, shape, painter, scale_bar=scale_bar)
        return png_of(canvas)

    def fill(
        self,
        axes: Axes,
        view: View,
        shape: tuple[int, int],
        painter: Painter,
        *,
        scale_bar: bool = False,
    ) -> None:
        """Draw one picture into axes that have this canvas's proportions; for the arguments see `draw`."""
        axes.set_facecolor('black')
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        left, right, bottom, top = view.extent(*shape)
        painter(axes)
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        axes.set_xlim(middle_x - self.width / 2, middle_x + self.width / 2)
        axes.set_ylim(middle_y + self.height / 2, middle_y - self.height / 2)
        axes.set_aspect('auto')
        places = (
            (0.015, 0.5, 'left', 'center'),
            (0.985, 0.5, 'right', 'center'),
            (0.5, 0.98, 'center', 'top'),
            (0.5, 0.02, 'center', 'bottom'),
        )
        for letter, (x, y, across, along) in zip(view.sides, places, strict=True):
            _write(axes, x, y, letter, ha=across, va=along, fontsize=LETTER_POINTS)
        if scale_bar:
            self._scale_bar(axes)

    def _scale_bar(self, axes: Axes) -> None:
        length = max(bar for bar in BAR_LENGTHS_MM if bar <= max(BAR_LENGTHS_MM[0], self.width / 4))
        ends = (0.04, 0.04 + length / self.width)
        for colour, width in (('black', 5), ('white', 3)):
            axes.add_line(
                Line2D(
                    ends, (0.04, 0.04), color=colour, linewidth=width, solid_capstyle='butt', transform=axes.transAxes
                )
            )
        _write(axes, ends[0], 0.055, f'{length:g} mm', ha='left', va='bottom', fontsize=LETTER_POINTS - 1)


def _write(axes: Axes, x: float, y: float, text: str, **settings) -> None:
    """White letters with a dark rim, which are readable on bright tissue too; x and y from 0 to 1."""
    rim = [patheffects.withStroke(linewidth=2, foreground='black')]
    axes.text(x, y, text, transform=axes.transAxes, color='white', path_effects=rim, **settings)


def canvas_for(views: Sequence[View], shape: tuple[int, ...], largest: tuple[int, int] = LARGEST_SIZE) -> Canvas:
    """Return the smallest canvas that holds all views of a volume.

    Args:
        views: The planes.
        shape: Shape of the volume in display order.
        largest: Width and height in pixels, one of which the canvas fills.

    Returns:
        The canvas.
    """
    sizes = []
    for view in views:
        right, down = view.across
        sizes.append((shape[right] * view.spacing[0], shape[down] * view.spacing[1]))
    width, height = (max(lengths) for lengths in zip(*sizes, strict=True))
    return Canvas(width, height, min(largest[0] / width, largest[1] / height))


class Sheet:
    """A white page on which pictures, bars and words are placed in pixels from its upper left corner.

    Args:
        width: Pixels.
        height: Pixels.
    """

    def __init__(self, width: int, height: int):
        self._width, self._height = width, height
        size = width / DOTS_PER_INCH, height / DOTS_PER_INCH
        self._figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor='white')
        self._canvas = FigureCanvasAgg(self._figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes in a box of the sheet."""
        return self._figure.add_axes(
            (
                left / self._width,
                1 - (top + height) / self._height,
                width / self._width,
                height / self._height,
            )
        )

    def write(self, left: float, top: float, text: str, **settings: Any) -> None:
        """Write a text whose upper left corner is at a place, unless `settings` of a text say otherwise."""
        options: dict[str, Any] = {'ha': 'left', 'va': 'top', 'fontsize': LETTER_POINTS} | settings
        self._figure.text(left / self._width, 1 - top / self._height, text, **options)

    def mark(self, left: float, top: float, colour: str, width: float = 22, height: float = 5) -> None:
        """Draw a small bar of a colour, for a legend."""
        place = left / self._width, 1 - (top + height) / self._height
        size = width / self._width, height / self._height
        self._figure.add_artist(Rectangle(place, *size, color=colour, linewidth=0, transform=self._figure.transFigure))

    def colour_bar(self, left: float, top: float, width: float, scale: Scale) -> None:
        """Draw a horizontal colour bar with its label below."""
        axes = self.axes(left, top, width, COLOUR_BAR_PIXELS)
        mappable = ScalarMappable(scale.norm, scale.colour_map)
        bar = self._figure.colorbar(mappable, cax=axes, orientation='horizontal')
        bar.set_ticks(list(scale.ticks), labels=list(scale.ticks.values()), fontsize=LETTER_POINTS - 1)
        bar.minorticks_off()
        bar.outline.set_visible(False)
        bar.set_label(scale.label, fontsize=LETTER_POINTS - 1)

    def save(self, path: str | os.PathLike) -> None:
        """Write the sheet as a PNG file; folders are made."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.png())

    def png(self) -> bytes:
        """Return the sheet as the content of a PNG file."""
        return png_of(self._canvas)


def png_of(canvas: FigureCanvasAgg) -> bytes:
    """Return a drawn figure as the content of a PNG file; its words are shown as they are, dollar signs too."""
    for text in canvas.figure.findobj(Text):
        text.set_parse_math(False)
    canvas.draw()
    pixels = np.array(canvas.buffer_rgba())
    pixels[..., :3] &= KEPT_BITS
    # White paper stays white.
    pixels[(pixels[..., :3] == KEPT_BITS).all(-1)] = 255
    buffer = io.BytesIO()
    # Not by matplotlib, which would store an opaque alpha channel with it. Not with optimize=True either: a picture
    # would be 5 % smaller and take six times as long to write.
    Image.fromarray(np.ascontiguousarray(pixels[..., :3])).save(buffer, format='png')
    return buffer.getvalue()
