"""VoxelMorph against golden numbers of the official network (set G5), in float64."""

import numpy as np
import pytest

from tests.models.test_autofuse_golden import output_of


@pytest.fixture(scope='module')
def output():
    return output_of('voxelmorph')


def test_flow(output):
    np.testing.assert_allclose(output.displacement[0, 8, 8, 8], [0.01300682, 0.00149185, 0.00202898], atol=1e-8)
    np.testing.assert_allclose(np.abs(output.displacement).mean(), 0.00549734, atol=1e-8)


def test_warped_image(output):
    np.testing.assert_allclose(output.warped.mean(), 0.49715072, atol=1e-8)
