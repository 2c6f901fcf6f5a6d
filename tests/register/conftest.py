"""The files that tests of `register` read, made once."""

import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms_io.itk_text import write_itk_text
from tests.register.calls import FIXED_GRID, MOVING_GRID, TURN
from tests.registration.scenes import bulge, centred_grid, picture, rotation_and_shift


@pytest.fixture(scope='session')
def files(tmp_path_factory):
    """Images and labels of a turned, bulging scene on two different grids."""
    folder = tmp_path_factory.mktemp('scenes')
    volumes = {
        'fixed': picture(FIXED_GRID, bulge, texture=True),
        'moving': picture(MOVING_GRID, lambda points: to_world(np.linalg.inv(TURN), points), texture=True),
    }
    for name, volume in volumes.items():
        write_image(folder / f'{name}.nii.gz', volume.image, volume.affine)
        write_labels(folder / f'{name}_labels.nii.gz', volume.labels, volume.affine)
    second_grid = centred_grid((30, 28, 30), (4, 4, 4))
    second = picture(second_grid, lambda points: to_world(np.linalg.inv(TURN), points), texture=True)
    write_image(folder / 't2.nii.gz', 1000 - second.image, second.affine)
    np.savetxt(folder / 'singular.mat', np.diag([1, 1, 0, 1]))
    write_itk_text(folder / 'far.tfm', AffineTransform(rotation_and_shift(0, (900, 0, 0))))
    (folder / 'names.json').write_text('{"1": "head", "2": "left <blob>"}')
    return folder
