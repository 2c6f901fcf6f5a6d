"""What the header of an image says about its place in space, and what is suspicious about it."""

import dataclasses
import os

import numpy as np

from autofuse_jax.data.formats import IMAGE_KEY, open_image
from autofuse_jax.data.stored_images import StoredImage, check_stored
from autofuse_jax.transforms.grids import ImageGrid

# Axes that deviate from the scanner's, or from right angles, by more than this are pointed out.
OBLIQUE_DEGREES = 0.5
SHEAR_DEGREES = 0.1
# Slices beyond this many times the pixel size are pointed out.
THICK_SLICES = 3.0
# No scanner has larger voxels: a file that says so counts in another unit than it says.
LARGEST_VOXEL_MM = 100.0


@dataclasses.dataclass(frozen=True, eq=False)
class HeaderFacts:
    """What a header says.

    Attributes:
        file: Name of the file.
        shape: Sizes of the stored axes.
        grid: The voxels of the first three axes, millimetres whatever unit the file counts in.
        remarks: Sentences that a user should know; empty where nothing is suspicious.
        itk_obstacle: Reason why ITK places the image elsewhere; empty where it does not.
        fsl_obstacle: Reason why FSL counts along its axes in another way; empty where it does not.
    """

    file: str
    shape: tuple[int, ...]
    grid: ImageGrid
    remarks: tuple[str, ...]
    itk_obstacle: str = ''
    fsl_obstacle: str = ''

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Sizes of the axes without those of length 1 behind the third: three, or more for a series."""
        shape = self.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        return shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along the first three axes, millimetres."""
        return self.grid.spacing

    @property
    def orientation(self) -> str:
        """Directions of the axes, such as 'RAS'."""
        return self.grid.orientation

    @property
    def oblique_degrees(self) -> float:
        """Angle between the most tilted axis and the nearest scanner axis."""
        return self.grid.tilt_degrees

    def sentence(self) -> str:
        """Describe the image in one line."""
        size = ' x '.join(str(length) for length in self.shape)
        voxel = ' x '.join(f'{length:.4g}' for length in self.spacing)
        shear, tilt = self.grid.shear_degrees, self.oblique_degrees
        words = f', sheared by {shear:.1f} degrees' if shear > SHEAR_DEGREES else ''
        if not words and tilt > OBLIQUE_DEGREES:
            words = f', oblique by {tilt:.1f} degrees'
        return f'{self.file}: {size} voxels of {voxel} mm, axes {self.orientation}{words}'


def read_header(path: str | os.PathLike, *, key: str = IMAGE_KEY, alone: bool = False) -> HeaderFacts:
    """Read the geometry of an image and check it, without reading the values.

    Args:
        path: An image in a file, or the folder of a DICOM series; an npz has no header, its array and affine are read
            instead.
        key: Name of the array in an npz; default 'vol'.
        alone: Whether nobody will read the values: the whole file is then checked for damage now. Default False.

    Returns:
        The facts.

    Raises:
        UserError: Missing or damaged file, colours in place of grey values, or a singular affine.
    """
    image = open_image(path, key)
    facts = header_facts(image)
    if alone:
        image.read()
    return facts


def header_facts(image: StoredImage) -> HeaderFacts:
    """Return what the header of an opened image says, after checking it.

    Args:
        image: The image.

    Raises:
        UserError: Colours in place of grey values, or a singular affine.
    """
    check_stored(image)
    name, remarks = image.path.name, image.remarks
    grid = ImageGrid((*image.shape, 1, 1)[:3], np.asarray(image.affine, np.float64))
    thick, thin = max(grid.spacing), min(grid.spacing)
    if thick > THICK_SLICES * thin and 1 not in grid.shape:
        remarks += (f'{name} has slices of {thick:.3g} mm and pixels of {thin:.3g} mm',)
    if thick > LARGEST_VOXEL_MM:
        remarks += (f'{name} has voxels of {thick:.4g} mm: check the unit of length in its header',)
    return HeaderFacts(name, image.shape, grid, remarks, image.notes.itk_obstacle, image.notes.fsl_obstacle)
