"""The conventions in which a transform may be stored, in words."""

import dataclasses

from autofuse_jax.choices import FSL, ITK, LEARN2REG, VOXEL

DISPLACEMENT, AFFINE = 'displacement', 'affine'

PULL = 'pull'
DIRECTION = f'{PULL}: a point of the fixed image goes to the point of the moving image that is shown there'


@dataclasses.dataclass(frozen=True)
class Convention:
    """How one family of tools stores transforms.

    Attributes:
        title: Its name in sentences.
        units: Unit of the numbers.
        frame: Axes along which they are counted.
        short: Units and frame in a few words.
        suffixes: Suffixes of dense fields, the preferred one first.
        needs_moving: Whether the numbers depend on the grid of the moving image.
    """

    title: str
    units: str
    frame: str
    short: str
    suffixes: tuple[str, ...]
    needs_moving: bool


CONVENTIONS = {
    ITK: Convention(
        title='ITK',
        units='mm',
        frame='LPS world: x to the left, y to the back, z to the head',
        short='mm, LPS',
        suffixes=('.nii.gz', '.nii'),
        needs_moving=False,
    ),
    FSL: Convention(
        title='FSL',
        units='mm',
        frame='array axes times voxel size, the first axis counted from its other end where the determinant of the '
        'affine is positive; position in the moving image minus position in the fixed image, each in its own frame',
        short='mm, scaled voxels of FSL, relative',
        suffixes=('.nii.gz', '.nii'),
        needs_moving=True,
    ),
    LEARN2REG: Convention(
        title='Learn2Reg',
        units='voxels',
        frame='array axes (D, H, W); index in the moving image minus index in the fixed image',
        short='voxels, array axes',
        suffixes=('.nii.gz', '.nii', '.npz'),
        needs_moving=True,
    ),
    VOXEL: Convention(
        title='voxel',
        units='voxels',
        frame='array axes (D, H, W) of the fixed image',
        short='voxels of the fixed grid, array axes',
        suffixes=('.nii.gz', '.nii', '.npz'),
        needs_moving=False,
    ),
}
