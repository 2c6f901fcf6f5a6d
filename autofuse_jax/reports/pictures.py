"""One picture per registered pair: images with label outlines, errors, deformation grid and Jacobian determinant.

One slice is shown, along the axis with the coarsest voxels (short-axis slices of a cine stack). The first of the two
remaining axes points right and the second one up, as in file viewers that show the stored axes without flipping.
Distances on the page are true in millimetres.
"""

import os
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib import colors, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from autofuse_jax.files import replacing
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent
from autofuse_jax.metrics.overlap import dice_per_label, mean_dice
from autofuse_jax.reports.slices import Slice, choose_slice

# Colours that stay apart for colour-blind readers and on grey; classes beyond the last start again.
PALETTE = ('#35c9ff', '#ffd23f', '#ff4d5e', '#7ae582', '#f79df0', '#ff9f1c', '#c0a3ff', '#b8e0d2')
FOLDED_COLOUR = '#39ff14'
LEGEND_ROWS = 10
LEGEND_LETTERS = 20
GRID_LINES = 24
# Volume changes beyond a factor of four either way are shown in the end colours.
JACOBIAN_LIMIT = 4.0
SMALLEST_ERROR_SCALE = 0.05
DOTS_PER_INCH = 110


def pair_picture(
    path: str | os.PathLike,
    *,
    fixed: np.ndarray,
    moving: np.ndarray,
    warped: np.ndarray,
    displacement: np.ndarray,
    spacing: tuple[float, float, float],
    title: str,
    fixed_labels: np.ndarray | None = None,
    moving_labels: np.ndarray | None = None,
    warped_labels: np.ndarray | None = None,
    classes: Mapping[int, str] | None = None,
) -> None:
    """Draw a registered pair into one PNG.

    Args:
        path: The PNG file to write; folders are made.
        fixed: Fixed image, (D, H, W), in [0, 1].
        moving: Moving image, same shape and range.
        warped: Moving image on the fixed grid, same shape and range.
        displacement: (D, H, W, 3), in voxels, last axis along (D, H, W).
        spacing: Voxel size along (D, H, W), in millimetres.
        title: Heading of the page.
        fixed_labels: Label map of the fixed image, or None.
        moving_labels: Label map of the moving image, or None.
        warped_labels: Moving label map on the fixed grid, or None.
        classes: Label id to name; ids that are missing here are not drawn.

    Raises:
        ValueError: The shapes do not agree.
    """
    maps = (fixed_labels, moving_labels, warped_labels)
    for array in (moving, warped, displacement[..., 0], *(labels for labels in maps if labels is not None)):
        if array.shape != fixed.shape:
            raise ValueError(f'array of shape {array.shape} does not fit the fixed image of shape {fixed.shape}')
    names = {label: name for label, name in (classes or {}).items() if label}
    view = choose_slice(spacing, fixed_labels, fixed, moving)
    rows, columns = view.cut(fixed).shape
    width, height = columns * view.spacing[0], rows * view.spacing[1]
    figure = Figure(figsize=(15.5, 1.0 + 7.1 * min(1.6, max(0.6, height / width))), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4, gridspec_kw={'left': 0.01, 'right': 0.985, 'bottom': 0.02, 'top': 0.89, 'wspace': 0.2})
    figure.suptitle(title, fontsize=15, x=0.01, ha='left')
    for panel in axes.flat:
        panel.set_xlim(view.extent(rows, columns)[:2])
        panel.set_ylim(view.extent(rows, columns)[2:])
        panel.set_aspect('equal')
        panel.set_xticks([])
        panel.set_yticks([])

    images = (('fixed', fixed), ('moving', moving), ('warped moving', warped))
    for panel, (name, image), labels in zip(axes[0], images, maps, strict=False):
        panel.set_title(name)
        _grey(panel, view, image)
        if labels is not None:
            _outlines(panel, view, labels, names)
    _scale_bar(axes[0, 0], width)
    _grid(axes[0, 3], view, moving, displacement)
    _errors(axes[1, 0], axes[1, 1], view, fixed, moving, warped)
    percent = _jacobian(axes[1, 2], view, displacement)
    _legend(axes[1, 3], view, maps, names, percent)
    with replacing(path) as temporary:
        figure.savefig(temporary, format='png')


def _grey(panel: Axes, view: Slice, image: np.ndarray, alpha: float = 1.0) -> None:
    cut = view.cut(image)
    panel.set_facecolor('black')
    panel.imshow(cut, cmap='gray', vmin=0, vmax=1, origin='lower', extent=view.extent(*cut.shape), alpha=alpha)


def _outlines(panel: Axes, view: Slice, labels: np.ndarray, names: Mapping[int, str]) -> None:
    """Outline each structure half way between its voxels and their neighbours; label values are never blended."""
    cut = view.cut(labels)
    x, y = (np.arange(-1, size + 1) * step for size, step in zip(cut.shape[::-1], view.spacing, strict=True))
    for position, label in enumerate(names):
        # A border of zeros closes outlines at the edge of the image.
        mask = np.pad(cut == label, 1).astype(float)
        if mask.any():
            panel.contour(x, y, mask, levels=[0.5], colors=[_colour(position)], linewidths=1.6)


def _scale_bar(panel: Axes, width: float) -> None:
    """A bar of a round length of at most a quarter of the picture's width."""
    length = max(bar for bar in (1, 2, 5, 10, 20, 50, 100) if bar <= max(1, width / 4))
    left, bottom = panel.get_xlim()[0] + 0.05 * width, panel.get_ylim()[0] + 0.05 * width
    # A dark rim keeps the bar readable on bright tissue.
    rim = [patheffects.withStroke(linewidth=5, foreground='black')]
    ends = [left, left + length], [bottom, bottom]
    panel.add_line(Line2D(*ends, color='white', linewidth=3, solid_capstyle='butt', path_effects=rim))
    rim = [patheffects.withStroke(linewidth=2, foreground='black')]
    panel.text(left, bottom + 0.02 * width, f'{length} mm', color='white', fontsize=9, va='bottom', path_effects=rim)


def _grid(panel: Axes, view: Slice, moving: np.ndarray, displacement: np.ndarray) -> None:
    """Lines of the fixed grid at the places of the moving image that they sample."""
    panel.set_title('fixed grid in the moving image')
    _grey(panel, view, moving, alpha=0.55)
    rows, columns = view.cut(moving).shape
    x = (np.arange(columns)[None, :] + view.cut(displacement[..., view.right])) * view.spacing[0]
    y = (np.arange(rows)[:, None] + view.cut(displacement[..., view.up])) * view.spacing[1]
    points = np.stack([x, y], axis=-1)
    step = max(1, round(max(rows, columns) / GRID_LINES))
    lines = [*points[::step], *points[:, ::step].swapaxes(0, 1)]
    panel.add_collection(LineCollection(lines, colors='#ffb703', linewidths=0.8))


def _errors(before: Axes, after: Axes, view: Slice, fixed: np.ndarray, moving: np.ndarray, warped: np.ndarray) -> None:
    """Absolute differences to the fixed image on one scale."""
    differences = [np.abs(np.asarray(image, float) - fixed) for image in (moving, warped)]
    # The 99.5th percentile: a few outliers should not turn the rest of both panels black.
    limit = max(SMALLEST_ERROR_SCALE, float(np.percentile(view.cut(differences[0]), 99.5)))
    titles = ('error before: |fixed − moving|', 'error after: |fixed − warped|')
    for panel, title, difference in zip((before, after), titles, differences, strict=True):
        cut = view.cut(difference)
        panel.set_title(title)
        drawn = panel.imshow(cut, cmap='inferno', vmin=0, vmax=limit, origin='lower', extent=view.extent(*cut.shape))
        _bar(panel, drawn, extend='max')


def _jacobian(panel: Axes, view: Slice, displacement: np.ndarray) -> float:
    """Colours by volume ratio, equal steps for equal factors; returns the percentage of folded voxels."""
    determinant = jacobian_determinant(displacement)
    cut = view.cut(determinant)
    panel.set_title('Jacobian determinant')
    panel.set_facecolor('0.85')
    # Differences lie between voxel centres: the first one is half a voxel in.
    drawn = panel.imshow(
        np.ma.masked_less_equal(cut, 0),
        cmap=matplotlib.colormaps['RdBu_r'].with_extremes(bad=FOLDED_COLOUR),
        norm=colors.LogNorm(1 / JACOBIAN_LIMIT, JACOBIAN_LIMIT),
        origin='lower',
        extent=view.extent(*cut.shape, shift=0.5),
        interpolation='nearest',
    )
    bar = _bar(panel, drawn, extend='both')
    bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=['¼', '½', '1', '2', '4'])
    bar.minorticks_off()
    return njd_percent(determinant)


def _bar(panel: Axes, drawn: AxesImage, extend: str) -> Colorbar:
    """A colour bar beside a panel that leaves the panel its size."""
    return panel.figure.colorbar(drawn, cax=panel.inset_axes([1.02, 0, 0.04, 1]), extend=extend)


def _legend(
    panel: Axes,
    view: Slice,
    maps: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
    names: Mapping[int, str],
    folded: float,
) -> None:
    """Colours of the structures with their DSC in the whole volume, and how much of the field folds."""
    panel.axis('off')
    panel.set_aspect('auto')
    lines = []
    fixed_labels, moving_labels, warped_labels = maps
    scored = fixed_labels is not None and moving_labels is not None and warped_labels is not None and names
    if scored:
        before = dice_per_label(fixed_labels, moving_labels, names)
        after = dice_per_label(fixed_labels, warped_labels, names)
        lines.append((None, 'structure', 'DSC % before', 'after'))
        for position, (label, name) in enumerate(names.items()):
            if position < LEGEND_ROWS:
                lines.append((_colour(position), _short(name), _percent(before[label]), _percent(after[label])))
        lines.append((None, f'mean of {len(names)}', _percent(mean_dice(before)), _percent(mean_dice(after))))
    else:
        lines += [(_colour(position), _short(name), '', '') for position, name in enumerate(names.values())][
            :LEGEND_ROWS
        ]
    lines.append((None, '', '', ''))
    lines.append((FOLDED_COLOUR, f'folded voxels: {folded:.3f} % of the volume', '', ''))
    lines.append((None, 'determinant > 1: larger in moving image', '', ''))
    lines.append((None, f'slice {view.index + 1} across axis {view.axis + 1} of the array', '', ''))
    for row, (colour, name, first, second) in enumerate(lines):
        height = 0.96 - 0.062 * row
        if colour:
            panel.add_line(Line2D([0.0, 0.07], [height, height], color=colour, linewidth=4, transform=panel.transAxes))
        panel.text(0.10 if colour else 0.0, height, name, transform=panel.transAxes, va='center', fontsize=11)
        panel.text(0.82, height, first, transform=panel.transAxes, va='center', ha='right', fontsize=11)
        panel.text(1.02, height, second, transform=panel.transAxes, va='center', ha='right', fontsize=11)


def _percent(score: float) -> str:
    return '–' if np.isnan(score) else f'{100 * score:.1f}'


def _short(name: str) -> str:
    return name if len(name) <= LEGEND_LETTERS else name[: LEGEND_LETTERS - 1] + '…'


def _colour(position: int) -> str:
    return PALETTE[position % len(PALETTE)]
