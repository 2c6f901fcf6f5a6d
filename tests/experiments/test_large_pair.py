"""The large pair is one scene twice, moved by what the record measures errors against."""

import numpy as np
import pytest

from experiments.speed import large_pair


def test_both_images_show_one_scene_through_the_true_transform(monkeypatch):
    monkeypatch.setattr(large_pair, 'NOISE', 0.0)
    shape, affine = (12, 10, 8), np.diag([30.0, 30.0, 40.0, 1.0])
    affine[:3, 3] = -165.0, -135.0, -140.0
    fixed = large_pair._image(shape, affine, large_pair.true_transform, 0)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), axis=-1)
    points = voxels @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_array_equal(fixed, np.rint(large_pair._scene(large_pair.true_transform(points))))
    moving = large_pair._image(shape, affine, lambda points: points, 0)
    assert fixed.min() == moving.min() == large_pair.AIR and (fixed != moving).any()


def test_points_that_are_scored_lie_in_the_body_of_both_and_move():
    points = large_pair._points_inside()
    assert len(points) > large_pair.POINTS // 3
    moved = np.linalg.norm(large_pair.true_transform(points) - points, axis=-1)
    assert 10 < moved.mean() < 30
    assert (large_pair._scene(large_pair.true_transform(points)) > large_pair.AIR).all()


@pytest.mark.slow
def test_the_command_finds_the_true_transform_on_a_coarse_grid():
    found = large_pair.measure((64, 64, 50))
    # Most of the bending is less than a voxel there.
    assert 2 * found['error_mm']['mean'] < found['before_mm']['mean']
    assert found['peak_gib'] < 4 and found['processor_seconds'] > 0
