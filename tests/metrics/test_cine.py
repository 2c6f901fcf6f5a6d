"""Volumes and determinants over the frames of a cine."""

import numpy as np
import pytest

from autofuse_jax.metrics.cine import cine_curves

NAMES = {1: 'LV cavity', 2: 'myocardium', 9: 'absent'}


def labels() -> np.ndarray:
    volume = np.zeros((4, 4, 4), int)
    volume[:2, 0, 0], volume[3, 3, :] = 1, 2
    return volume


def test_curves_from_determinants_and_labels():
    first, second = np.ones((3, 3, 3)), np.full((3, 3, 3), 2.0)
    second[0, 0, 0] = 0.5
    found = cine_curves(labels(), [first, second], NAMES, voxel_mm3=500.0)
    # Structure 1 has two voxels: (0.5 + 2) / 2. Structure 2 lies in the last voxels, where no determinant is known.
    assert found['jacobian_mean']['LV cavity'] == [1.0, 1.25]
    assert np.isnan(found['jacobian_mean']['myocardium']).all()
    assert found['jacobian_mean']['whole image'] == pytest.approx([1.0, (26 * 2 + 0.5) / 27])
    # Two voxels of half a millilitre, times the mean determinant.
    assert found['volume_ml']['LV cavity'] == [1.0, 1.25]
    warped = [labels(), np.where(labels() == 2, 0, labels())]
    counted = cine_curves(labels(), [first, second], NAMES, voxel_mm3=500.0, frame_labels=warped)['volume_ml']
    assert counted['LV cavity'] == [1.0, 1.0] and counted['myocardium'] == [2.0, 0.0]
    assert np.isnan(counted['absent']).all()
