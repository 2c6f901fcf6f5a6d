"""The field of a network on images of any grid; the network is a function that is known."""

import types

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.network import network_field, network_guide, velocity_on
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.transforms.grids import grid_points, to_world
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.weights.pretrained import Registration
from tests.registration.scenes import centred_grid, picture, rotation_and_shift

# Three voxels of 3 mm of a right-anterior-superior grid: to the right, backwards, upwards.
VELOCITY = np.array([0.5, -0.25, 0.75], np.float32)
NOTHING = PipelineSettings(AlignmentSettings(kind='none', start='header'), None)


class Network:
    """Stands in for a trained network: predicts one velocity everywhere, and remembers what it was shown."""

    runtime = 'a function of NumPy'
    method = types.SimpleNamespace(multiple=(16, 16, 16))

    def __init__(self, spacing_mm=(3.0, 3.0, 3.0), velocity=True, segments=False):
        self.description = types.SimpleNamespace(spacing_mm=spacing_mm, method='constant')
        self._velocity, self._segments, self.calls = velocity, segments, 0

    def register(self, fixed, moving, *, seed=0):
        self.shown = fixed, moving
        self.calls += 1
        padded = [(size + -size % 16) // 2 for size in fixed.shape]
        velocity = np.broadcast_to(VELOCITY, (*padded, 3)) if self._velocity else None
        displacement = np.broadcast_to(2 * VELOCITY, (*fixed.shape, 3)).astype(np.float32)
        # What it calls the probability of its one class is the image itself, whose brightest voxels have 100.
        shares = [image / 100 for image in (fixed, moving)]
        maps = [np.stack([1 - share, share], axis=-1) if self._segments else None for share in shares]
        return Registration(displacement, velocity, moving, None, None, {}, *maps)


def test_the_network_sees_its_own_voxels_and_axes():
    network = Network()
    # Stored from left to right of a viewer: the network was trained on the other order.
    grid = centred_grid((50, 40, 30), (2.0, 3.0, 3.0), axes='LPS')
    fixed = picture(grid)
    network_field(network, fixed, fixed, AffineTransform(np.eye(4)))
    shown = network.shown[0]
    assert shown.shape == (33, 40, 30)
    expected = picture(centred_grid((33, 40, 30), (100 / 33, 3.0, 3.0))).image
    assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.995


def test_velocity_keeps_its_meaning_on_another_grid():
    network = Network()
    fixed = picture(centred_grid((48, 48, 32), (3.0, 3.0, 3.0)))
    field = network_field(network, fixed, fixed, AffineTransform(np.eye(4)))
    # A voxel of the velocity is two of the images: 6 mm.
    target = centred_grid((20, 20, 20), (4.0, 4.0, 4.0), turn=90)
    velocity = velocity_on(target, field)
    millimetres = velocity @ target.affine[:3, :3].T
    np.testing.assert_allclose(millimetres, np.broadcast_to(6 * VELOCITY, velocity.shape), atol=1e-4)


@pytest.mark.parametrize('axes', ['RAS', 'LPS'])
def test_the_whole_pipeline_moves_points_as_the_network_says(axes):
    network = Network()
    turn = rotation_and_shift(90.0, (0.0, 0.0, 5.0))
    grid = centred_grid((48, 48, 32), (3.0, 3.0, 3.0), axes=axes)
    fixed = picture(grid)
    moving = picture(centred_grid((50, 44, 40), (3, 3, 3)), lambda points: to_world(np.linalg.inv(turn), points))
    result = register_volumes(fixed, moving, NOTHING, model=network)
    middle = grid_points(grid)[20:28, 20:28, 12:20].reshape(-1, 3)
    np.testing.assert_allclose(result.transform.map_points(middle), middle + 6 * VELOCITY, atol=1e-3)
    there = result.transform.map_points(middle)
    np.testing.assert_allclose(result.inverse.map_points(there), middle, atol=1e-3)
    assert result.stages[0]['name'] == 'network constant'


@pytest.mark.parametrize('shift', [0.0, 0.001, 5.0])
def test_a_moving_image_that_the_alignment_moves_is_segmented_where_it_is(shift):
    network = Network(segments=True)
    grid = centred_grid((48, 40, 32), (3.0, 3.0, 3.0))
    fixed, moving = picture(grid), picture(grid, lambda points: points * 1.1)
    alignment = AffineTransform(rotation_and_shift(0.0, (0.0, shift, 0.0)))
    field = network_field(network, fixed, moving, alignment)
    guide = network_guide(network, field, moving, alignment)
    moves = shift > 1
    assert network.calls == (2 if moves else 1) and guide.aligned != moves
    np.testing.assert_allclose(guide.moving.values[..., 0], sharper(moving.image / 100), atol=2e-4)
    np.testing.assert_allclose(guide.fixed.values[..., 0], sharper(fixed.image / 100), atol=1e-5)
    np.testing.assert_array_equal(guide.moving.affine, grid.affine)
    # Where the aligned image is seen elsewhere, its own segmentation is another one.
    assert np.allclose(field.moving_probabilities[..., 1], moving.image / 100, atol=1e-4) != moves
    assert guide.labels == (1,)


def sharper(share):
    """Of two classes, one has this share: the odds of the third power."""
    return share**3 / (share**3 + (1 - share) ** 3)


def test_unknown_training_voxels_leave_the_image_as_it_is():
    network = Network(spacing_mm=None)
    fixed = picture(centred_grid((48, 40, 32), (3.0, 3.0, 3.0)))
    network_field(network, fixed, fixed, AffineTransform(np.eye(4)))
    np.testing.assert_allclose(network.shown[0], fixed.image, atol=1e-3)


def test_a_network_without_a_velocity_is_refused():
    fixed = picture(centred_grid((48, 40, 32), (3.0, 3.0, 3.0)))
    with pytest.raises(UserError, match='no inverse by construction'):
        network_field(Network(velocity=False), fixed, fixed, AffineTransform(np.eye(4)))
