"""Volumes as radiology viewers show them: the patient's right on the left, anterior at the top, true millimetres."""

import dataclasses

import nibabel as nib
import numpy as np

from autofuse_jax.transforms.grids import ImageGrid

# Array axes of the display orientation run towards the patient's left, back and feet, so that rows of every plane run
# downwards and columns to the right without any further flip.
DISPLAY_AXES = 'LPI'
OPPOSITE = {'L': 'R', 'R': 'L', 'P': 'A', 'A': 'P', 'I': 'S', 'S': 'I'}
# The plane across each axis of the display orientation.
PLANES = ('sagittal', 'coronal', 'axial')
# Slices at least this many times as thick as their pixels are shown in their own plane only.
THICK_SLICES = 3.0
# Where the slices of a thick stack are taken, as shares of the part of the stack that has something to show.
STACK_POSITIONS = (0.2, 0.5, 0.8)


@dataclasses.dataclass(frozen=True)
class View:
    """One plane through a volume in display orientation.

    Attributes:
        axis: Display axis across the plane.
        index: Slice number along it.
        spacing: Millimetres per voxel to the right and downwards.
        file_axis: Array axis across the plane in the file's own order.
        file_index: Slice number along it, counted from 0.
        file_size: Number of slices along it.
    """

    axis: int
    index: int
    spacing: tuple[float, float]
    file_axis: int
    file_index: int
    file_size: int

    @property
    def across(self) -> tuple[int, int]:
        """Display axes that run to the right and downwards."""
        right, down = (other for other in range(3) if other != self.axis)
        return right, down

    @property
    def name(self) -> str:
        """Words for a caption: plane and place."""
        return f'{self.plane}, voxel {self.place}'

    @property
    def plane(self) -> str:
        """Anatomical name of the plane."""
        return PLANES[self.axis]

    @property
    def place(self) -> str:
        """Voxel index of the file along i, j or k, and its range."""
        return f'{"ijk"[self.file_axis]} = {self.file_index} of 0–{self.file_size - 1}'

    @property
    def sides(self) -> tuple[str, str, str, str]:
        """Letters of the patient's sides at the left, right, top and bottom edge of the picture."""
        right, down = (DISPLAY_AXES[axis] for axis in self.across)
        return OPPOSITE[right], right, OPPOSITE[down], down

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """The plane of a volume in display orientation, (rows, columns, ...); a smaller volume's last one at most."""
        # Indexing and not np.take, which would copy the whole of a flipped volume.
        plane = volume[(slice(None),) * self.axis + (min(self.index, volume.shape[self.axis] - 1),)]
        return np.swapaxes(plane, 0, 1)

    def extent(self, rows: int, columns: int, shift: float = 0.0) -> tuple[float, float, float, float]:
        """Edges (left, right, bottom, top) in millimetres; `shift` in voxels moves the centre of the first voxel."""
        first = shift - 0.5
        right, down = self.spacing
        return first * right, (first + columns) * right, (first + rows) * down, first * down


@dataclasses.dataclass(frozen=True, eq=False)
class Display:
    """How a file's array axes are permuted and flipped for display.

    Attributes:
        transform: (3, 2), for each array axis its display axis and 1 or -1 for a flip, as nibabel writes it.
        shape: Size along the display axes.
        spacing: Voxel size along the display axes in millimetres.
        tilt: Largest angle between a voxel axis and the body axis nearest to it, in degrees.
    """

    transform: np.ndarray
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    tilt: float

    def volume(self, array: np.ndarray) -> np.ndarray:
        """Return (D, H, W, ...) in display orientation, a view of the same memory."""
        return nib.orientations.apply_orientation(array, self.transform)

    def vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors (..., 3) along (D, H, W) as vectors along the display axes, in voxels as before."""
        result = np.empty(vectors.shape, np.float64)
        for axis, (target, flip) in enumerate(self.transform.astype(int)):
            result[..., target] = flip * vectors[..., axis]
        return result

    def view(self, axis: int, index: int, size: int | None = None) -> View:
        """Return the plane across a display axis.

        Args:
            axis: Display axis.
            index: Slice number along it.
            size: Number of slices along it, where the volume has not as many as the grid (forward differences).

        Returns:
            The view.
        """
        right, down = (other for other in range(3) if other != axis)
        file_axis = int(np.flatnonzero(self.transform[:, 0] == axis)[0])
        size = size or self.shape[axis]
        file_index = index if self.transform[file_axis, 1] > 0 else size - 1 - index
        return View(axis, index, (self.spacing[right], self.spacing[down]), file_axis, file_index, size)


def display_of(affine: np.ndarray, shape: tuple[int, int, int]) -> Display:
    """Find the closest anatomical axes of a grid.

    Args:
        affine: (4, 4), from voxel indices to RAS millimetres, not singular.
        shape: (D, H, W).

    Returns:
        Display of arrays on that grid.
    """
    grid = ImageGrid(tuple(shape), affine)
    orientation = nib.orientations.io_orientation(grid.affine)
    transform = nib.orientations.ornt_transform(orientation, nib.orientations.axcodes2ornt(tuple(DISPLAY_AXES)))
    order = np.argsort(transform[:, 0].astype(int))
    return Display(
        transform,
        tuple(int(grid.shape[axis]) for axis in order),
        tuple(grid.spacing[axis] for axis in order),
        grid.tilt_degrees,
    )


def choose_views(display: Display, weight: np.ndarray) -> tuple[View, ...]:
    """Pick the planes to show: axial, coronal and sagittal, or three slices of a stack of thick slices.

    Args:
        display: Display of the grid.
        weight: (D, H, W) in display orientation, not negative: where there is something to see, such as labelled
            voxels.

    Returns:
        The views. Of a single slice that slice; of a thick stack up to three slices in its part with weight, in order
        of the display axis; otherwise one view for each plane, through the slice with the largest weight.
    """
    if 1 in display.shape:
        return (display.view(display.shape.index(1), 0),)
    thick = int(np.argmax(display.spacing))
    profiles = [weight.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    if display.spacing[thick] >= THICK_SLICES * min(display.spacing):
        slices = np.flatnonzero(profiles[thick])
        if not slices.size:
            slices = np.arange(display.shape[thick])
        indices = sorted({int(slices[round(share * (slices.size - 1))]) for share in STACK_POSITIONS})
        return tuple(display.view(thick, index) for index in indices)
    # Of slices with equal weight the middle one, so that an empty volume is cut in its middle.
    largest = [np.flatnonzero(profile == profile.max()) for profile in profiles]
    return tuple(display.view(axis, int(largest[axis][largest[axis].size // 2])) for axis in (2, 1, 0))
