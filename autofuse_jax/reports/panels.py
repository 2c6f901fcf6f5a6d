"""What pictures consist of: images, outlines, edges, checkerboards and grids, in millimetres of a plane."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy import ndimage

from autofuse_jax.reports.display import View

# Grey values beyond these percentiles are shown as black and white.
DARK_PERCENTILE, BRIGHT_PERCENTILE = 0.5, 99.7
# Percentiles are taken from about this many voxels.
SAMPLED_VOXELS = 500_000
# Edges: zero crossings of the Laplacian of a Gaussian of this width in voxels ...
EDGE_WIDTH = 1.5
# ... where the gradient is among the strongest 15 % of the slice.
EDGE_PERCENTILE = 85


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
    voxels = np.concatenate(values)
    if not voxels.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(voxels, (DARK_PERCENTILE, BRIGHT_PERCENTILE)))
    # Zeros around an image of positive values are black: its darkest tissue should not be as well.
    low = min(low, 0.0)
    return (low, high) if high > low else (low, low + 1.0)


def grey(plane: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return grey values in [0, 1]; what is not finite becomes 0."""
    low, high = window
    return np.clip(
        (np.nan_to_num(plane.astype(np.float64), nan=low, posinf=high, neginf=low) - low) / (high - low), 0, 1
    )


def show(axes: Axes, view: View, picture: np.ndarray, **settings: Any) -> None:
    """Draw values of a plane, (rows, columns), in grey between 0 and 1 unless `settings` of imshow say otherwise."""
    options: dict[str, Any] = {'cmap': 'gray', 'vmin': 0, 'vmax': 1, 'interpolation': 'bilinear'} | settings
    axes.imshow(picture, extent=view.extent(*picture.shape[:2]), **options)


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


def outlines(axes: Axes, view: View, labels: np.ndarray, colours: Mapping[int, str] | str, width: float) -> None:
    """Outline each structure half way between its voxels and their neighbours.

    Args:
        axes: Axes to draw in.
        view: The plane.
        labels: Integer labels, (rows, columns); 0 is background.
        colours: Colour of each label, or one for all; labels without a colour are left out.
        width: Width of the lines, in points.
    """
    right, down = view.spacing
    present, compact = np.unique(labels, return_inverse=True)
    # Numbers without gaps, background (and anything below it) first: find_objects makes one entry for each number.
    compact = compact.reshape(labels.shape)
    for position, (label, box) in enumerate(zip(present, ndimage.find_objects(compact + 1), strict=True)):
        colour = colours if isinstance(colours, str) else colours.get(int(label))
        if label <= 0 or colour is None:
            continue
        # A border of zeros closes the outline.
        mask = np.pad(compact[box] == position, 1).astype(float)
        y = (np.arange(box[0].start - 1, box[0].stop + 1)) * down
        x = (np.arange(box[1].start - 1, box[1].stop + 1)) * right
        axes.contour(x, y, mask, levels=[0.5], colors=[colour], linewidths=width)


def edges(axes: Axes, view: View, picture: np.ndarray, colour: str, width: float = 0.9) -> None:
    """Draw the strongest edges of a picture: zero crossings of its Laplacian of a Gaussian.

    Args:
        axes: Axes to draw in.
        view: The plane.
        picture: Grey values, (rows, columns), finite.
        colour: Colour of the lines.
        width: Width of the lines, in points.

    Reference:
        Marr and Hildreth, Theory of edge detection, Proc. R. Soc. B 207, 1980.
    """
    if min(picture.shape) < 2:
        return
    strength = ndimage.gaussian_gradient_magnitude(picture, EDGE_WIDTH)
    laplacian = ndimage.gaussian_laplace(picture, EDGE_WIDTH)
    weakest = max(float(np.percentile(strength, EDGE_PERCENTILE)), np.finfo(float).eps)
    strong_edges = np.ma.masked_where(strength < weakest, laplacian)
    if strong_edges.count() and strong_edges.min() < 0 < strong_edges.max():
        y, x = (np.arange(size) * step for size, step in zip(picture.shape, view.spacing[::-1], strict=True))
        axes.contour(x, y, strong_edges, levels=[0.0], colors=[colour], linewidths=width)


def grid_lines(
    axes: Axes, view: View, points: np.ndarray, lengths: np.ndarray, count: int, **settings
) -> LineCollection:
    """Draw every n-th row and column of a grid of points, coloured by a value at each point.

    Args:
        axes: Axes to draw in.
        view: The plane.
        points: (rows, columns, 2), right and down in millimetres.
        lengths: (rows, columns), the value.
        count: About how many lines to draw along the longer side.
        **settings: Options of the `LineCollection`, such as cmap and norm.

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
    collection = LineCollection(list(np.concatenate(pieces)), array=np.concatenate(values), **settings)
    axes.add_collection(collection)
    return collection
