"""What the pictures of one registration are drawn from: volumes turned for display, planes, scales."""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from autofuse_jax.metrics.affine_part import AffinePart, affine_part
from autofuse_jax.reports import panels
from autofuse_jax.reports.colours import Scale, difference_scale, displacement_scale
from autofuse_jax.reports.display import Display, View, choose_views, display_of

# The affine part is fitted to about this many voxels along each axis; an affine needs few.
FIT_VOXELS = 40
# Differences of grey values are shown on a scale of at least this much of the window: less is noise.
SMALLEST_DIFFERENCE = 0.05
# Local displacements are shown on a scale of at least this many millimetres or voxels, whichever is less: less is
# rounding.
SMALLEST_REST = 0.1
# Scales end here: a few outliers should not turn the rest of the pictures black.
SCALE_PERCENTILE = 99.5

Labels = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]


@dataclasses.dataclass(frozen=True, eq=False)
class RegistrationView:
    """A registered pair in display orientation.

    Attributes:
        display: Order and flips of the array axes.
        views: The planes to show.
        fixed: Fixed image, (D, H, W).
        before: Moving image on the fixed grid before registration.
        after: Moving image on the fixed grid after registration.
        displacement: (D, H, W, 3), components still along the array axes of the file.
        jacobian: Determinant, (D, H, W) or one less along each axis.
        labels: Fixed labels, moving labels before and after, None where there are none.
        fixed_window: Grey values of black and white of the fixed image.
        moving_window: Grey values of black and white of the moving image, before and after.
    """

    display: Display
    views: tuple[View, ...]
    fixed: np.ndarray
    before: np.ndarray
    after: np.ndarray
    displacement: np.ndarray
    jacobian: np.ndarray
    labels: Labels
    fixed_window: tuple[float, float]
    moving_window: tuple[float, float]

    def shape_of(self, view: View) -> tuple[int, int]:
        """Return (rows, columns) of a plane."""
        return view.cut(self.fixed).shape

    def greys(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return grey values of the fixed image, the moving image before and after, (rows, columns) in [0, 1]."""
        fixed = panels.grey(view.cut(self.fixed), self.fixed_window)
        before, after = (panels.grey(view.cut(image), self.moving_window) for image in (self.before, self.after))
        return fixed, before, after

    def differences(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return |fixed - moving| of the grey values before and after registration, (rows, columns)."""
        fixed, before, after = self.greys(view)
        return np.abs(before - fixed), np.abs(after - fixed)

    @functools.cached_property
    def difference_scale(self) -> Scale:
        """One scale for the differences in all planes, before and after registration."""
        ends = (_scale_end(self.differences(view)[0]) for view in self.views)
        return difference_scale(max(SMALLEST_DIFFERENCE, *ends))

    @functools.cached_property
    def finite(self) -> bool:
        """Whether every displacement is a finite number."""
        return bool(np.isfinite(self.displacement).all())

    @functools.cached_property
    def affine_part(self) -> AffinePart:
        """Affine part of the displacement, in voxels of the display orientation."""
        steps = [max(1, size // FIT_VOXELS) for size in self.display.shape]
        axes = [np.arange(0, size, step) for size, step in zip(self.display.shape, steps, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)
        thinned = self.displacement[:: steps[0], :: steps[1], :: steps[2]].reshape(-1, 3)
        return affine_part(points, self.display.vectors(thinned), self.display.spacing)

    def local_displacement(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return what the displacement is in a plane without its affine part.

        Args:
            view: The plane.

        Returns:
            Voxel positions (rows, columns, 3) and displacements of the same shape, both in voxels along the display
            axes.
        """
        points = _voxels(view, self.shape_of(view))
        return points, self.affine_part.rest(points, self.display.vectors(view.cut(self.displacement)))

    def lengths_mm(self, vectors: np.ndarray) -> np.ndarray:
        """Return lengths (...) of vectors (..., 3) in voxels along the display axes."""
        return np.linalg.norm(vectors * self.display.spacing, axis=-1)

    @functools.cached_property
    def displacement_scale(self) -> Scale:
        """One scale for the local displacements in all planes."""
        ends = (_scale_end(self.lengths_mm(self.local_displacement(view)[1])) for view in self.views)
        return displacement_scale(max(SMALLEST_REST * min(1.0, *self.display.spacing), *ends))

    def affinely_moved(self, view: View) -> np.ndarray:
        """Return grey values (rows, columns) of the moving image after the affine part of the displacement alone."""
        part = self.affine_part
        places = _voxels(view, self.shape_of(view)) @ part.matrix.T + part.offset
        low, _ = self.moving_window
        plane = ndimage.map_coordinates(self.before, np.moveaxis(places, -1, 0), np.float64, order=1, cval=low)
        return panels.grey(plane, self.moving_window)


def view_registration(
    *,
    fixed: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    displacement: np.ndarray,
    jacobian: np.ndarray,
    affine: np.ndarray,
    labels: Labels = (None, None, None),
) -> RegistrationView:
    """Turn a registered pair into display orientation and choose planes and grey windows.

    Args:
        fixed: Fixed image, (D, H, W), grey values of any range.
        before: Moving image on the fixed grid before registration, same shape.
        after: Moving image on the fixed grid after registration, same shape.
        displacement: (D, H, W, 3), in voxels of the fixed grid, last axis along (D, H, W), affine part included.
        jacobian: Its determinant, (D, H, W) or one less along each axis.
        affine: (4, 4) of the fixed grid, from voxel indices to RAS millimetres.
        labels: Fixed labels, moving labels before and after registration, integers of the same shape, or None.

    Returns:
        View that all pictures are drawn from.

    Raises:
        ValueError: The shapes do not agree.
    """
    _check_shapes(fixed, before, after, displacement, jacobian, labels)
    display = display_of(affine, fixed.shape)
    display_fixed = display.volume(fixed)
    fixed_labels, labels_before, labels_after = (None if array is None else display.volume(array) for array in labels)
    turned_labels = fixed_labels, labels_before, labels_after
    fixed_window = panels.window_of(fixed)
    weights = [array for array in turned_labels if array is not None and array.any()]
    # Without labels: tissue, taken as what is at least a quarter as bright as white.
    low, high = fixed_window
    return RegistrationView(
        display=display,
        views=choose_views(display, weights[0] > 0 if weights else display_fixed > low + (high - low) / 4),
        fixed=display_fixed,
        before=display.volume(before),
        after=display.volume(after),
        displacement=display.volume(displacement),
        jacobian=display.volume(jacobian),
        labels=turned_labels,
        fixed_window=fixed_window,
        moving_window=panels.window_of(before, after),
    )


def _check_shapes(
    fixed: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    displacement: np.ndarray,
    jacobian: np.ndarray,
    labels: Labels,
) -> None:
    if fixed.ndim != 3:
        raise ValueError(f'the fixed image has shape {fixed.shape}, not (D, H, W)')
    smaller = tuple(max(size - 1, 1) for size in fixed.shape)
    fits = {
        'moving image': before.shape == fixed.shape,
        'moved image': after.shape == fixed.shape,
        'displacement': displacement.shape == (*fixed.shape, 3),
        'Jacobian determinant': jacobian.shape in (fixed.shape, smaller),
        'labels': all(array is None or array.shape == fixed.shape for array in labels),
    }
    for name, right in fits.items():
        if not right:
            raise ValueError(f'the {name} does not fit the fixed image of shape {fixed.shape}')


def _scale_end(values: np.ndarray) -> float:
    return float(np.percentile(values, SCALE_PERCENTILE))


def _voxels(view: View, shape: tuple[int, int]) -> np.ndarray:
    """Voxel positions of a plane along the display axes, (rows, columns, 3)."""
    rows, columns = np.indices(shape, np.float64)
    right, down = view.across
    points = np.full((*shape, 3), float(view.index))
    points[..., right], points[..., down] = columns, rows
    return points
