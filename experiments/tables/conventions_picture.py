"""Draw the picture of conventions: a field that pulls on the fixed grid, and the same grids in the world.

python -m experiments.tables.conventions_picture
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

PICTURE = Path(__file__).resolve().parents[2] / 'docs' / 'images' / 'conventions.png'
FIXED, MOVING, ARROW = '#1f77b4', '#d62728', '#333333'
# Voxels of both grids, the centre of the moving one in the world and how it is turned.
FIXED_SHAPE, MOVING_SHAPE = (6, 5), (5, 5)
MOVING_STEP, MOVING_TURN, MOVING_CORNER = 1.2, 20.0, (0.2, -0.6)


def main() -> int:
    """Write the picture; returns the exit status."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), dpi=130, constrained_layout=True)
    _draw_pull(left)
    _draw_world(right)
    figure.savefig(PICTURE)
    print(f'written: {PICTURE}')
    return 0


def _displacement(points: np.ndarray) -> np.ndarray:
    """A smooth displacement of some voxels at the centre."""
    centre = (np.array(FIXED_SHAPE) - 1) / 2
    weight = np.exp(-((points - centre) ** 2).sum(axis=-1) / 5.0)[..., None]
    return weight * np.array([0.75, 0.55])


def _draw_pull(axes: Axes) -> None:
    points = np.stack(np.meshgrid(*map(np.arange, FIXED_SHAPE), indexing='ij'), axis=-1).reshape(-1, 2).astype(float)
    ends = points + _displacement(points)
    axes.scatter(*points.T, s=26, color=FIXED, zorder=3, label='voxels x of the fixed grid')
    axes.scatter(*ends.T, s=16, color=MOVING, zorder=3, label='where moving is read: x + u(x)')
    for point, end in zip(points, ends, strict=True):
        axes.annotate('', end, point, arrowprops={'arrowstyle': '->', 'color': ARROW, 'lw': 1.0})
    axes.set(
        title='A field pulls, in voxels:  moved(x) = moving(x + u(x))',
        xlabel='index along D (first axis)',
        ylabel='index along H (second axis)',
        xlim=(-0.7, FIXED_SHAPE[0] - 0.1),
        ylim=(-0.7, FIXED_SHAPE[1] + 0.6),
        aspect='equal',
    )
    axes.legend(loc='upper left', ncols=2, fontsize=8, frameon=False)


def _draw_world(axes: Axes) -> None:
    angle = np.radians(MOVING_TURN)
    turn = MOVING_STEP * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grids = (
        (FIXED_SHAPE, np.eye(2), np.zeros(2), FIXED, 'fixed grid'),
        (MOVING_SHAPE, turn, np.array(MOVING_CORNER), MOVING, 'moving grid, turned, larger voxels'),
    )
    for shape, matrix, corner, colour, label in grids:
        lines = [(a, b) for a in (0, 1) for b in range(shape[a])]
        for number, (axis, index) in enumerate(lines):
            ends = np.zeros((2, 2))
            ends[:, axis] = index
            ends[1, 1 - axis] = shape[1 - axis] - 1
            world = ends @ matrix.T + corner
            axes.plot(*world.T, color=colour, lw=0.9, alpha=0.65, label=label if not number else None)
        axes.annotate('[0, 0]', corner, (-16, -12), textcoords='offset points', color=colour, fontsize=9)
    start, end = np.array([1.0, 2.0]), np.array([3.0, 3.3])
    for first, last, colour, text, shift in (
        (start, end, FIXED, 'transform (pull): fixed to moving world', (-64, 26)),
        (end, start, MOVING, 'inverse (push): moves points of the moving image', (-60, -36)),
    ):
        style = {'arrowstyle': '->', 'color': colour, 'lw': 2.0, 'connectionstyle': 'arc3,rad=-0.35'}
        axes.annotate('', last, first, arrowprops=style, zorder=4)
        middle = (start + end) / 2
        box = {'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.85, 'pad': 1.5}
        axes.annotate(text, middle, shift, textcoords='offset points', color=colour, fontsize=9, bbox=box, zorder=5)
    axes.scatter(*np.stack([start, end]).T, s=30, color=ARROW, zorder=6)
    axes.set(
        title='In the world:  an affine leads from indices to RAS millimetres',
        xlabel='x, to the right (R), mm',
        ylabel='y, to the front (A), mm',
        aspect='equal',
        xlim=(-2.2, 6.9),
        ylim=(-1.5, 6.9),
    )
    axes.legend(loc='upper left', fontsize=8, frameon=False)


if __name__ == '__main__':
    sys.exit(main())
