"""Slabs of a grid: all voxels once, in the same places to the last bit."""

import numpy as np
import pytest

from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.folding import SMALLEST_DETERMINANT, jacobian_determinant, sdlogj
from autofuse_jax.registration.evidence import covered_voxels
from autofuse_jax.registration.scores import correlation, inverse_consistency
from autofuse_jax.registration.working_grid import field_of_view, on_grid
from autofuse_jax.transforms.grids import ImageGrid, grid_points, slabs
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform, to_dense
from tests.registration.scenes import centred_grid, rotation_and_shift

GRID = centred_grid((9, 6, 5), (1.1, 2.0, 3.0), turn=15)
ROOMS = (
    'registration.evidence',
    'transforms.maps',
    'data.resample',
    'registration.working_grid',
    'registration.scores',
    'metrics.folding',
)


def test_slabs_cover_the_first_axis_once():
    assert slabs((9, 6, 5), 60) == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8), slice(8, 9)]
    assert slabs((9, 6, 5)) == [slice(0, 9)]
    # A row is the least.
    assert len(slabs((9, 6, 5), 1)) == 9
    parts = [grid_points(GRID, rows) for rows in slabs(GRID.shape, 60)]
    np.testing.assert_array_equal(np.concatenate(parts), grid_points(GRID))


def everything():
    """Every result that is computed slab by slab."""
    rng = np.random.default_rng(0)
    volume = Volume(rng.uniform(size=(8, 8, 8)), rng.integers(0, 5, (8, 8, 8)), np.diag([1.5, 1.5, 2.0, 1.0]), 'noise')
    field = DenseTransform(rng.normal(size=(*GRID.shape, 3)).astype(np.float32), GRID.affine)
    turn = AffineTransform(rotation_and_shift(10.0, (1, 2, 3)))
    moved = move_volume(volume, GRID, turn)
    return [
        moved.image,
        moved.labels,
        to_dense([turn, field], GRID).displacement,
        on_grid(volume.image, volume.affine, GRID, turn),
        field_of_view(GRID, ImageGrid((4, 4, 4), GRID.affine)),
        jacobian_determinant(field.displacement),
        np.array(list(inverse_consistency(field, field).values())),
        covered_voxels(moved, volume, field),
    ]


@pytest.mark.parametrize('voxels', [30, 60])
def test_slab_by_slab_results_are_the_same_to_the_last_bit(monkeypatch, voxels):
    whole = everything()
    for room in ROOMS:
        monkeypatch.setattr(f'autofuse_jax.{room}.slabs', lambda shape: slabs(shape, voxels))
    for alone, together in zip(everything(), whole, strict=True):
        np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize('voxels', [30, 60, 10_000])
def test_sums_over_slabs_are_those_over_all_voxels(monkeypatch, voxels):
    for room in ('registration.scores', 'metrics.folding'):
        monkeypatch.setattr(f'autofuse_jax.{room}.slabs', lambda shape: slabs(shape, voxels))
    rng = np.random.default_rng(1)
    determinant = rng.normal(1.0, 0.4, GRID.shape)
    expected = np.std(np.log(np.maximum(determinant, SMALLEST_DETERMINANT)))
    assert sdlogj(determinant) == pytest.approx(expected, rel=1e-12)
    assert sdlogj(determinant.ravel()) == pytest.approx(expected, rel=1e-12)
    first, second = rng.uniform(size=(2, *GRID.shape)).astype(np.float32)
    second += first
    first[2, 1], covered = np.nan, rng.uniform(size=GRID.shape) > 0.3
    known = covered & np.isfinite(first)
    expected = np.corrcoef(first[known], second[known])[0, 1]
    assert correlation(first, second, covered) == pytest.approx(expected, rel=1e-6)
    assert np.isnan(correlation(np.full(GRID.shape, 7.3), second))
    assert np.isnan(correlation(first, second, np.zeros(GRID.shape, bool)))
