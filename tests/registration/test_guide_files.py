"""Guides of users: label maps and points as files and arrays, and what reports say of them."""

import numpy as np
import pytest

from autofuse_jax.data.volumes import write_labels
from autofuse_jax.errors import UserError
from autofuse_jax.registration.guide_files import (
    GuideFiles,
    guide_record,
    guide_sentence,
    read_guide,
)
from autofuse_jax.transforms.maps import AffineTransform
from tests.registration.scenes import centred_grid, picture

GRID = centred_grid((12, 14, 10), (8.0, 8.0, 8.0))


@pytest.fixture(scope='module')
def volume():
    return picture(GRID)


def test_files_and_arrays_are_read(volume, tmp_path):
    write_labels(tmp_path / 'seg.nii.gz', volume.labels, volume.affine)
    (tmp_path / 'points.csv').write_text('x,y,z\n1,2,3\n')
    files = GuideFiles(
        fixed_labels=tmp_path / 'seg.nii.gz',
        moving_labels=volume.labels,
        fixed_points=tmp_path / 'points.csv',
        moving_points=np.ones((1, 3)),
    )
    guide = read_guide(files, volume, volume)
    np.testing.assert_array_equal(guide.fixed.values, guide.moving.values)
    assert guide.labels == (1, 2, 3)
    assert guide.fixed_points.tolist() == [[1, 2, 3]]
    assert guide.source == 'label map seg.nii.gz and an array, points points.csv and an array'
    assert files.any_given and not GuideFiles().any_given


def test_reports_say_what_guided(volume):
    still = AffineTransform(np.eye(4))
    assert guide_record(None, volume, volume, still) is None
    guide = read_guide(GuideFiles(fixed_points=np.ones((2, 3)), moving_points=np.ones((2, 3))), volume, volume)
    record = guide_record(guide, volume, volume, still)
    assert record == {
        'source': 'points an array and an array',
        'classes': [],
        'points': 2,
        'points_outside': {'fixed': 0, 'moving': 0},
        'points_mm': {'before': 0.0, 'after': 0.0},
        'scored': True,
        'seen': [],
    }
    points = '2 pairs of points, on average 0.00 mm apart before and 0.00 mm after'
    assert f'guided by points an array and an array ({points}); the scored labels' in guide_sentence(record)


def test_arrays_of_another_kind_are_refused(volume):
    with pytest.raises(UserError, match='whole numbers on its grid'):
        read_guide(GuideFiles(volume.labels[1:]), volume, volume)
    with pytest.raises(UserError, match=r'guiding points of shape \(3,\)'):
        read_guide(GuideFiles(fixed_points=np.ones(3)), volume, volume)
