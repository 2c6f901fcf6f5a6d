"""The template to which brains are aligned, and the window of it that prepared brains fill.

The template is the MNI-152 brain that the optional package nilearn brings, or any skull-stripped image.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from autofuse_jax.data.prepared import Grid
from autofuse_jax.data.volumes import Volume, read_image
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, to_world

MNI_NAME = 'MNI-152 (nilearn)'


def load_template(path: str | os.PathLike | None = None) -> Volume:
    """Load the template.

    Args:
        path: A skull-stripped image in the wanted space; default None loads nilearn's MNI-152 at 1 mm.

    Returns:
        The volume, without labels.

    Raises:
        UserError: nilearn is not installed, or the file is bad or holds nothing above 0.
    """
    if path is not None:
        template = read_image(path)
    else:
        try:
            # An optional package: whoever has a template of their own does not need it.
            from nilearn.datasets import load_mni152_template
        except ImportError as error:
            raise UserError(
                'the MNI-152 template comes with the package nilearn, which is not installed',
                fix="install it with pip install 'autofuse_jax[brain]', or name a skull-stripped image with --template",
            ) from error
        image = load_mni152_template(resolution=1)
        values, affine = np.asarray(image.dataobj, np.float32), np.asarray(image.affine, np.float64)
        template = Volume(values, None, affine, MNI_NAME)
    if not (template.image > 0).any():
        raise UserError(f'the template {template.name} holds nothing above 0', fix='name another image with --template')
    return template


def fingerprint(template: Volume) -> str:
    """Return a short text that is another one for another template, whatever its file is called."""
    content = hashlib.sha256(np.ascontiguousarray(template.image, np.float32).tobytes())
    content.update(np.asarray(template.affine, np.float64).tobytes())
    return f'{Path(template.name).name}, sha256 {content.hexdigest()[:16]}'


def brain_window(template: Volume, target: Grid) -> ImageGrid:
    """Place the prepared grid on the template: axes along R, A and S, centred on the box around its brain.

    Args:
        template: Its brain is what is above 0.
        target: Shape and voxel size, from left to right, back to front, bottom to top.

    Returns:
        The grid, in the world of the template.
    """
    # Of an oblique template the box is that of the voxels in the world, not the world's box of the voxels' box.
    world = to_world(template.affine, np.argwhere(template.image > 0))
    centre = (world.min(axis=0) + world.max(axis=0)) / 2
    affine = np.diag([*target.spacing, 1.0])
    affine[:3, 3] = centre - np.asarray(target.spacing) * (np.asarray(target.shape) - 1) / 2
    return ImageGrid(target.shape, affine)
