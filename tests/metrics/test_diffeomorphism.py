"""Non-diffeomorphic volume: by hand, and voxel by voxel."""

import itertools

import numpy as np
import pytest

from autofuse_jax.metrics.diffeomorphism import ndv_percent
from autofuse_jax.metrics.folding import central_determinant, jacobian_determinant, njd_percent


def linear_field(matrix, shape=(5, 6, 4)):
    return np.stack(np.indices(shape), axis=-1) @ np.asarray(matrix, float).T


def test_nothing_is_turned_by_shifts_and_stretches():
    assert ndv_percent(np.full((4, 4, 4, 3), 2.5)) == 0
    assert ndv_percent(linear_field(0.3 * np.eye(3))) == 0
    assert ndv_percent(linear_field([[0, 0.9, 0], [0, 0, 0], [0.5, 0, 0]])) == 0


@pytest.mark.parametrize(('stretch', 'percent'), [(-2.0, 100.0), (-1.5, 50.0), (-4.0, 300.0)])
def test_mirrored_volume_counts_with_its_size(stretch, percent):
    # Along one axis x becomes (1 + stretch) x: every determinant is that times 1 or 2, and all tetrahedra of a voxel
    # together make 12 / 12.
    for axis in range(3):
        matrix = np.zeros((3, 3))
        matrix[axis, axis] = stretch
        assert ndv_percent(linear_field(matrix)) == pytest.approx(percent)


def test_voxel_by_voxel():
    field = np.random.default_rng(0).normal(scale=0.7, size=(5, 4, 6, 3))
    place = np.stack(np.indices(field.shape[:3]), axis=-1) + field
    corners = [(np.diag(signs), np.prod(signs)) for signs in itertools.product((1, -1), repeat=3)]
    corners += [
        (np.array(edges), 1) for edges in ([[-1, -1, 0], [-1, 0, -1], [0, -1, -1]], [[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    ]
    total, voxels = 0.0, list(itertools.product(range(1, 4), range(1, 3), range(1, 5)))
    for voxel in voxels:
        for edges, orientation in corners:
            moved = [place[tuple(np.add(voxel, edge))] - place[voxel] for edge in edges]
            total += max(-orientation * np.linalg.det(moved), 0) / 12
    assert ndv_percent(field) == pytest.approx(100 * total / len(voxels))


def test_it_sees_what_single_differences_miss():
    # u alternates along an axis: central differences see nothing, forward ones only every other plane.
    field = np.zeros((8, 8, 8, 3))
    field[1::2, ..., 0] = 1.2
    assert njd_percent(central_determinant(field)) == 0 < njd_percent(jacobian_determinant(field))
    assert ndv_percent(field) > 0


def test_bad_fields_are_refused():
    with pytest.raises(ValueError, match='sizes of at least 3'):
        ndv_percent(np.zeros((2, 4, 4, 3)))
    with pytest.raises(ValueError, match='NaN'):
        ndv_percent(np.full((4, 4, 4, 3), np.nan))
