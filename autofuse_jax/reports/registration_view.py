"""What the pictures of one registration are drawn from: volumes turned for display, planes, scale."""

import dataclasses
from collections.abc import Callable

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes

from autofuse_jax.reports import panels
from autofuse_jax.reports.affine_part import AffinePart, affine_part
from autofuse_jax.reports.display import Display, View, choose_views, display_of
from autofuse_jax.reports.html import Html, picture, tag

# The affine part is fitted to about this many voxels along each axis; an affine needs few.
FIT_VOXELS = 40
RAMP_STEPS = 9


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """Everything that the pictures need, in display orientation.

    Attributes:
        display: How the file's axes were turned.
        views: The planes.
        canvas: Size and scale of every picture.
        fixed: Fixed image.
        before: Moving image on the fixed grid through the headers only.
        after: Moved image.
        displacement: (D, H, W, 3), components still along the file's axes.
        jacobian: Determinant.
        labels: Fixed, moving and moved labels, None where there are none.
        fixed_window: Grey values of black and white of the fixed image.
        moving_window: The same for the moving image, before and after.
    """

    display: Display
    views: tuple[View, ...]
    canvas: panels.Canvas
    fixed: np.ndarray
    before: np.ndarray
    after: np.ndarray
    displacement: np.ndarray
    jacobian: np.ndarray
    labels: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]
    fixed_window: tuple[float, float]
    moving_window: tuple[float, float]

    def greys(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Grey values of the fixed image, the moving image before and after, (rows, columns) in [0, 1]."""
        fixed = panels.grey(view.cut(self.fixed), self.fixed_window)
        before, after = (panels.grey(view.cut(image), self.moving_window) for image in (self.before, self.after))
        return fixed, before, after

    def affine_part(self) -> AffinePart:
        """Return the affine part of the displacement in display orientation."""
        steps = [max(1, size // FIT_VOXELS) for size in self.display.shape]
        axes = [np.arange(0, size, step) for size, step in zip(self.display.shape, steps, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)
        thinned = self.displacement[:: steps[0], :: steps[1], :: steps[2]].reshape(-1, 3)
        return affine_part(points, self.display.vectors(thinned), self.display.spacing)

    def draw(self, view: View, painter: Callable[[Axes], None], what: str, caption: str | None = None) -> Html:
        """Draw one figure; its caption is what it shows unless another one is given."""
        shape = view.cut(self.fixed).shape
        png = self.canvas.draw(view, shape, painter)
        return picture(png, f'{what}, {view.name}', caption or what, self.canvas.size)


def prepare(
    *,
    fixed: np.ndarray,
    moving_before: np.ndarray,
    moved: np.ndarray,
    displacement: np.ndarray,
    jacobian: np.ndarray,
    affine: np.ndarray,
    labels: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
) -> Shown:
    """Turn everything into display orientation and choose planes, scale and grey windows.

    Args:
        fixed: (D, H, W).
        moving_before: Same shape.
        moved: Same shape.
        displacement: (D, H, W, 3).
        jacobian: (D, H, W) or one less along each axis.
        affine: (4, 4) of the grid.
        labels: Fixed, moving (before) and moved labels, same shape, or None.

    Returns:
        What the sections below draw.
    """
    display = display_of(affine, fixed.shape)
    turned = display.volume(fixed)
    turned_labels = tuple(None if array is None else display.volume(array) for array in labels)
    fixed_window = panels.window_of(fixed)
    weights = [array for array in turned_labels if array is not None and array.any()]
    # Without labels: tissue, taken as what is at least a quarter as bright as white.
    low, high = fixed_window
    views = choose_views(display, weights[0] > 0 if weights else turned > low + (high - low) / 4)
    return Shown(
        display=display,
        views=views,
        canvas=panels.canvas_for(views, display.shape),
        fixed=turned,
        before=display.volume(moving_before),
        after=display.volume(moved),
        displacement=display.volume(displacement),
        jacobian=display.volume(jacobian),
        labels=turned_labels,
        fixed_window=fixed_window,
        moving_window=panels.window_of(moving_before, moved),
    )


def ramp(colour_map: colors.Colormap) -> list[str]:
    """Colours of a colour map at equal distances, for a colour bar."""
    return [colors.to_hex(colour_map(share)) for share in np.linspace(0, 1, RAMP_STEPS)]


def chip(colour: str) -> Html:
    """A small square of a colour, for a legend."""
    return tag('span', class_='chip', style=f'background: {colour}')


def side_by_side(groups: list[list[Html]]) -> Html:
    """Put views beside each other, the pictures of each one below the other."""
    kind = 'views one' if len(groups) == 1 else 'views'
    return tag('div', [tag('div', group, class_='view') for group in groups], class_=kind)
