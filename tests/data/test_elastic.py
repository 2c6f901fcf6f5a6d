import numpy as np

from autofuse_jax.data.elastic import INJECTIVE_LIMIT, PLANE_CELLS, random_elastic_positions

SHAPE = (40, 24, 8)


class Constant:
    """In place of a generator: every control point moves to the upper limit."""

    def uniform(self, low, high, size):
        return np.full(size, high)


def test_control_points_that_move_alike_move_the_plane_as_one():
    positions = random_elastic_positions(SHAPE, 0.3, Constant())
    plane = np.stack(np.meshgrid(np.arange(40), np.arange(24), indexing='ij'), axis=-1)
    wanted = plane + 0.3 * np.array([40, 24]) / PLANE_CELLS
    np.testing.assert_allclose(positions, np.broadcast_to(wanted[:, :, None], positions.shape), atol=1e-12)


def test_planes_never_fold_and_change_slowly():
    for seed in range(20):
        positions = random_elastic_positions(SHAPE, INJECTIVE_LIMIT, np.random.default_rng(seed))
        along, across = (np.diff(positions, axis=axis) for axis in (0, 1))
        determinant = along[:, :-1, :, 0] * across[:-1, :, :, 1] - along[:, :-1, :, 1] * across[:-1, :, :, 0]
        assert determinant.min() > 0
        # Between planes of one cell no point moves further than the limit.
        assert np.abs(np.diff(positions, axis=2)).max() < INJECTIVE_LIMIT * 40 / PLANE_CELLS


def test_typical_displacement_is_a_fifth_of_the_limit():
    plane = np.stack(np.meshgrid(np.arange(40), np.arange(24), indexing='ij'), axis=-1)[:, :, None]
    drawn = [random_elastic_positions(SHAPE, 0.4, np.random.default_rng(seed)) - plane for seed in range(50)]
    spread = np.std(drawn, axis=(0, 1, 2, 3)) / (0.4 * np.array([40, 24]) / PLANE_CELLS)
    np.testing.assert_allclose(spread, 0.2, atol=0.03)
