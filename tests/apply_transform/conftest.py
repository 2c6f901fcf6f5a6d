"""The files that tests of `apply_transform` read, made once."""

import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.transforms_io.files import write_transform
from tests.apply_transform.calls import FIXED, INFO, MOVING, POINTS
from tests.transforms.examples import affine, both, image, labels


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    """A folder with images, labels, points and transforms, as a registration leaves them."""
    folder = tmp_path_factory.mktemp('data')
    write_image(folder / 'fixed.nii.gz', image(FIXED), FIXED.affine)
    write_image(folder / 'moving.nii.gz', image(MOVING), MOVING.affine)
    write_labels(folder / 'labels.nii.gz', labels(MOVING), MOVING.affine)
    write_transform(folder / 'forward.nii.gz', both(FIXED), 'itk', INFO)
    write_transform(folder / 'affine.txt', affine(), 'itk', INFO)
    np.savetxt(folder / 'on_fixed.csv', POINTS, delimiter=',', header='x,y,z', comments='')
    np.savetxt(folder / 'on_moving.csv', both(FIXED).map_points(POINTS), delimiter=',', header='x,y,z', comments='')
    return folder
