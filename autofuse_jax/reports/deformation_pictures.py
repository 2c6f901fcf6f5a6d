"""The pictures of a transform: its deformation grid and the map of its Jacobian determinant, with folds marked."""

import matplotlib
import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from scipy import ndimage

from autofuse_jax.reports import panels
from autofuse_jax.reports.display import View
from autofuse_jax.reports.html import Html, colour_bar, number, section, tag
from autofuse_jax.reports.pictures import FOLDED_COLOUR, GRID_LINES, JACOBIAN_LIMIT
from autofuse_jax.reports.registration_view import Shown, chip, ramp, side_by_side

# Image under the deformation grid, dimmed so that the lines stand out.
DIMMED = 0.45
# Local displacements are shown on a scale of at least this many millimetres: less is rounding.
SMALLEST_REST_MM = 0.1
# Rings around groups of folded voxels, so that a single one is seen; more than this many would cover the map.
MOST_RINGS = 60
# Without the dark end of the colours, which is lost on a dark image.
GRID_MAP = colors.ListedColormap(matplotlib.colormaps['viridis'](np.linspace(0.35, 1, 256)))
JACOBIAN_MAP = matplotlib.colormaps['RdBu_r'].with_extremes(bad=FOLDED_COLOUR)


def deformation_section(shown: Shown, folded: str) -> Html:
    """The deformation grid without its affine part, and the map of the Jacobian determinant of the whole transform.

    Args:
        shown: As returned by `prepare`; its displacement is finite.
        folded: A sentence on folded voxels.

    Returns:
        The section.
    """
    part = shown.affine_part()
    folds = (shown.jacobian <= 0).any()
    steps = np.asarray(shown.display.spacing)
    rests = []
    for view in shown.views:
        points = _voxels(view, view.cut(shown.fixed).shape)
        rest = part.rest(points, shown.display.vectors(view.cut(shown.displacement)))
        rests.append((view, points, rest, np.linalg.norm(rest * steps, axis=-1)))
    limit = max(max(float(np.percentile(lengths, 99.5)) for *_, lengths in rests), SMALLEST_REST_MM)
    groups = []
    for view, points, rest, lengths in rests:
        across = list(view.across)
        places = ((points + rest) * steps)[..., across]

        def grid(axes: Axes, view: View = view, places: np.ndarray = places, lengths: np.ndarray = lengths) -> None:
            panels.show(axes, view, DIMMED * shown.greys(view)[0])
            norm = colors.Normalize(0, limit)
            panels.grid_lines(axes, view, places, lengths, GRID_LINES, cmap=GRID_MAP, norm=norm, linewidths=1.0)

        groups.append(
            [
                shown.draw(view, grid, 'deformation grid', f'grid: {view.name}'),
                shown.draw(view, lambda axes, v=view: _jacobian(axes, v, shown), 'Jacobian determinant'),
            ]
        )
    text = (
        'The grid shows where the transform looks in the moving image, after its affine part '
        f'(shift {number(part.shift_mm, 1)} mm at the middle of the grid, '
        f'rotation {number(part.rotation_degrees, 1)}°, volume × {number(part.volume_factor, 3)}) is taken away; '
        f'what is left is {number(part.rest_mean_mm, 2)} mm on average and {number(part.rest_max_mm, 1)} mm at most. '
        'The Jacobian determinant of the whole transform is above 1 (red) where the moving image shows a place larger '
        'than the fixed one.'
    )
    bars = tag(
        'div',
        colour_bar(ramp(GRID_MAP), [number(share * limit, 1) for share in (0, 0.5, 1)], 'local displacement, mm'),
        colour_bar(ramp(JACOBIAN_MAP), ['¼', '½', '1', '2', '4'], 'Jacobian determinant'),
        class_='bars',
    )
    marked = tag('p', chip(FOLDED_COLOUR) if folds else None, folded)
    worst = [tag('h3', 'Through the worst fold'), side_by_side(_worst_fold(shown))] if folds else None
    return section('Deformation', tag('p', text), marked, side_by_side(groups), bars, worst)


def _worst_fold(shown: Shown) -> list[list[Html]]:
    """The Jacobian determinant in planes through the smallest one."""
    finite = np.where(np.isfinite(shown.jacobian), shown.jacobian, np.inf)
    place = np.unravel_index(np.argmin(finite), shown.jacobian.shape)
    axes_shown = dict.fromkeys(view.axis for view in shown.views)
    views = [shown.display.view(axis, int(place[axis]), shown.jacobian.shape[axis]) for axis in axes_shown]
    what = 'Jacobian determinant at the worst fold'
    return [[shown.draw(view, lambda axes, v=view: _jacobian(axes, v, shown), what, view.name)] for view in views]


def _jacobian(axes: Axes, view: View, shown: Shown) -> None:
    """Colours by volume ratio, equal steps for equal factors; folded voxels in their own colour with rings."""
    cut = view.cut(shown.jacobian)
    # Forward differences lie between voxel centres: the first one is half a voxel in.
    shift = 0.5 if shown.jacobian.shape != shown.fixed.shape else 0.0
    bad = ~np.isfinite(cut) | (cut <= 0)
    norm = colors.LogNorm(1 / JACOBIAN_LIMIT, JACOBIAN_LIMIT, clip=True)
    axes.imshow(
        np.ma.array(np.where(bad, 1.0, cut), mask=bad),
        cmap=JACOBIAN_MAP,
        norm=norm,
        extent=view.extent(*cut.shape, shift=shift),
        interpolation='nearest',
    )
    groups, count = ndimage.label(bad, np.ones((3, 3)))
    if 0 < count <= MOST_RINGS:
        rows, columns = np.transpose(ndimage.center_of_mass(bad, groups, range(1, count + 1)))
        right, down = view.spacing
        axes.scatter((columns + shift) * right, (rows + shift) * down, s=90, facecolors='none', edgecolors='black')


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


def _voxels(view: View, shape: tuple[int, int]) -> np.ndarray:
    """Voxel positions of a plane along the display axes, (rows, columns, 3)."""
    rows, columns = np.indices(shape, np.float64)
    right, down = view.across
    points = np.full((*shape, 3), float(view.index))
    points[..., right], points[..., down] = columns, rows
    return points
