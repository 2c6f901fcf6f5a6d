"""The conventions in which a transform may be stored, in words."""

import dataclasses

from autofuse_jax.choices import FSL, ITK, LEARN2REG, LTA, VOXEL

DISPLACEMENT, AFFINE, COMPOSITE = KINDS = ('displacement', 'affine', 'composite')

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
        affine_short: Units and frame of affine transforms in a few words.
        affine_suffixes: Suffixes of affine transforms that are written.
        affine_pushes: Whether affine transforms are stored the other way round: points go from moving to fixed.
    """

    title: str
    units: str
    frame: str
    short: str
    suffixes: tuple[str, ...]
    needs_moving: bool
    affine_short: str = ''
    affine_suffixes: tuple[str, ...] = ()
    affine_pushes: bool = False


CONVENTIONS = {
    ITK: Convention(
        title='ITK',
        units='mm',
        frame='LPS world: x to the left, y to the back, z to the head',
        short='mm, LPS',
        suffixes=('.nii.gz', '.nii', '.h5', '.hdf5'),
        needs_moving=False,
        affine_short='mm, LPS',
        affine_suffixes=('.txt', '.tfm'),
    ),
    FSL: Convention(
        title='FSL',
        units='mm',
        frame='array axes times voxel size, the first axis counted from its other end where the determinant of the '
        'affine is positive; position in the moving image minus position in the fixed image, each in its own frame',
        short='mm, scaled voxels of FSL, relative',
        suffixes=('.nii.gz', '.nii'),
        needs_moving=True,
        affine_short='mm, scaled voxels of FSL',
        affine_pushes=True,
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
    LTA: Convention(
        title='FreeSurfer',
        units='mm',
        frame='RAS world of the source and of the destination image',
        short='',
        suffixes=(),
        needs_moving=False,
        affine_short='mm, RAS',
        affine_pushes=True,
    ),
}
