"""Single pictures without margins, drawn on a black canvas in true millimetres with the patient's sides marked."""

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imsave
from scipy import ndimage

from autofuse_jax.reports.display import View

# Sharp on a page of three columns, and small enough for thirty pictures in one file.
LARGEST_WIDTH, LARGEST_HEIGHT = 400, 480
DOTS_PER_INCH = 100
FIXED_OUTLINE, MOVING_OUTLINE = '#35c9ff', '#ff9f1c'
# Grey values beyond these percentiles are shown as black and white.
DARK_PERCENTILE, BRIGHT_PERCENTILE = 0.5, 99.7
# Percentiles are taken from about this many voxels.
SAMPLED_VOXELS = 500_000
# Red, green and blue are rounded to multiples of 4: nobody sees it in a picture, and the file is a third smaller.
KEPT_BITS = np.uint8(0b11111100)
# Edges: zero crossings of the Laplacian of a Gaussian of this width in voxels ...
EDGE_WIDTH = 1.5
# ... where the gradient is among the strongest 15 % of the slice.
EDGE_PERCENTILE = 85


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

    def draw(self, view: View, shape: tuple[int, int], painter: Callable[[Axes], None]) -> bytes:
        """Draw one picture.

        Args:
            view: The plane, for the sides.
            shape: (rows, columns) of the plane in voxels.
            painter: Draws into axes whose coordinates are millimetres, the centre of the first voxel at (0, 0), rows
                running downwards.

        Returns:
            Content of a PNG file.
        """
        figure = Figure(figsize=[pixels / DOTS_PER_INCH for pixels in self.size], dpi=DOTS_PER_INCH, facecolor='black')
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis('off')
        left, right, bottom, top = view.extent(*shape)
        painter(axes)
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        axes.set_xlim(middle_x - self.width / 2, middle_x + self.width / 2)
        axes.set_ylim(middle_y + self.height / 2, middle_y - self.height / 2)
        rim = [patheffects.withStroke(linewidth=2, foreground='black')]
        places = ((0.01, 0.5, 'left', 'center'), (0.99, 0.5, 'right', 'center'))
        places += ((0.5, 0.985, 'center', 'top'), (0.5, 0.015, 'center', 'bottom'))
        for letter, (x, y, across, along) in zip(view.sides, places, strict=True):
            axes.text(
                x, y, letter, transform=axes.transAxes, ha=across, va=along, color='white', fontsize=9, path_effects=rim
            )
        canvas.draw()
        pixels = np.array(canvas.buffer_rgba())
        pixels[..., :3] &= KEPT_BITS
        buffer = io.BytesIO()
        imsave(buffer, pixels, format='png')
        return buffer.getvalue()


def canvas_for(views: Sequence[View], shape: tuple[int, int, int]) -> Canvas:
    """Return the smallest canvas that holds all views of a volume of this shape (display order)."""
    sizes = []
    for view in views:
        right, down = view.across
        sizes.append((shape[right] * view.spacing[0], shape[down] * view.spacing[1]))
    width, height = (max(lengths) for lengths in zip(*sizes, strict=True))
    return Canvas(width, height, min(LARGEST_WIDTH / width, LARGEST_HEIGHT / height))


def window_of(*images: np.ndarray) -> tuple[float, float]:
    """Return the grey values to show as black and as white.

    Args:
        *images: Volumes that share one window; NaN and infinities do not count.

    Returns:
        Percentiles of the values that are not 0, as fields of zeros surround most images; two different numbers.
    """
    values = []
    for image in images:
        flat = np.ravel(image)[:: max(1, image.size // SAMPLED_VOXELS)]
        values.append(flat[np.isfinite(flat) & (flat != 0)])
    found = np.concatenate(values)
    if not found.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(found, (DARK_PERCENTILE, BRIGHT_PERCENTILE)))
    # Zeros around an image of positive values are black: its darkest tissue should not be as well.
    low = min(low, 0.0)
    return (low, high) if high > low else (low, low + 1.0)


def grey(cut: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return grey values in [0, 1]; what is not finite becomes 0."""
    low, high = window
    return np.clip((np.nan_to_num(cut.astype(np.float64), nan=low, posinf=high, neginf=low) - low) / (high - low), 0, 1)


def show(axes: Axes, view: View, picture: np.ndarray, **settings) -> None:
    """Draw values of a plane, (rows, columns), in grey between 0 and 1 unless `settings` of imshow say otherwise."""
    settings = {'cmap': 'gray', 'vmin': 0, 'vmax': 1, 'interpolation': 'bilinear'} | settings
    axes.imshow(picture, extent=view.extent(*picture.shape[:2]), **settings)


def checkerboard(view: View, first: np.ndarray, second: np.ndarray, side: float) -> np.ndarray:
    """Return squares of two pictures in turn; the upper left one is of the first.

    Args:
        view: The plane.
        first: (rows, columns).
        second: (rows, columns).
        side: Side of a square in millimetres.

    Returns:
        (rows, columns).
    """
    rows, columns = first.shape
    right, down = view.spacing
    odd = (np.arange(rows) * down // side)[:, None] + (np.arange(columns) * right // side)[None, :]
    return np.where(odd % 2 == 0, first, second)


def outlines(axes: Axes, view: View, cut: np.ndarray, colours: Mapping[int, str] | str, width: float) -> None:
    """Outline each structure half way between its voxels and their neighbours.

    Args:
        axes: Where to draw.
        view: The plane.
        cut: Integer labels, (rows, columns); 0 is background.
        colours: Colour of each label, or one for all; labels without a colour are left out.
        width: Of the lines, in points.
    """
    right, down = view.spacing
    present, compact = np.unique(cut, return_inverse=True)
    # Numbers without gaps, background (and anything below it) first: find_objects makes one entry for each number.
    compact = compact.reshape(cut.shape)
    for position, (label, box) in enumerate(zip(present, ndimage.find_objects(compact + 1), strict=True)):
        colour = colours if isinstance(colours, str) else colours.get(int(label))
        if label <= 0 or colour is None:
            continue
        # A border of zeros closes the outline.
        mask = np.pad(compact[box] == position, 1).astype(float)
        y = (np.arange(box[0].start - 1, box[0].stop + 1)) * down
        x = (np.arange(box[1].start - 1, box[1].stop + 1)) * right
        axes.contour(x, y, mask, levels=[0.5], colors=[colour], linewidths=width)


def edges(axes: Axes, view: View, cut: np.ndarray, colour: str, width: float = 0.9) -> None:
    """Draw the strongest edges of a picture: zero crossings of its Laplacian of a Gaussian.

    Args:
        axes: Where to draw.
        view: The plane.
        cut: Grey values, (rows, columns), finite.
        colour: Of the lines.
        width: Of the lines, in points.

    Reference:
        Marr and Hildreth, Theory of edge detection, Proc. R. Soc. B 207, 1980.
    """
    if min(cut.shape) < 2:
        return
    strength = ndimage.gaussian_gradient_magnitude(cut, EDGE_WIDTH)
    laplacian = ndimage.gaussian_laplace(cut, EDGE_WIDTH)
    weakest = max(float(np.percentile(strength, EDGE_PERCENTILE)), np.finfo(float).eps)
    kept = np.ma.masked_where(strength < weakest, laplacian)
    if kept.count() and kept.min() < 0 < kept.max():
        y, x = (np.arange(size) * step for size, step in zip(cut.shape, view.spacing[::-1], strict=True))
        axes.contour(x, y, kept, levels=[0.0], colors=[colour], linewidths=width)


def grid_lines(
    axes: Axes, view: View, points: np.ndarray, lengths: np.ndarray, count: int, **settings
) -> LineCollection:
    """Draw every n-th row and column of a grid of points, coloured by a value at each point.

    Args:
        axes: Where to draw.
        view: The plane.
        points: (rows, columns, 2), right and down in millimetres.
        lengths: (rows, columns), the value.
        count: About how many lines to draw along the longer side.
        **settings: Of the `LineCollection`, such as cmap and norm.

    Returns:
        The lines.
    """
    sides = [size * step for size, step in zip(lengths.shape, view.spacing[::-1], strict=True)]
    apart = max(sides) / count
    every_row, every_column = (max(1, round(apart / step)) for step in view.spacing[::-1])
    pieces, values = [], []
    for line, value in [
        *zip(points[::every_row], lengths[::every_row], strict=True),
        *zip(points[:, ::every_column].swapaxes(0, 1), lengths[:, ::every_column].T, strict=True),
    ]:
        pieces.append(np.stack([line[:-1], line[1:]], axis=1))
        values.append((value[:-1] + value[1:]) / 2)
    collection = LineCollection(np.concatenate(pieces), array=np.concatenate(values), **settings)
    axes.add_collection(collection)
    return collection
