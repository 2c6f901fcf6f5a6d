"""What lies beyond an image: background, or nothing that is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.data.resample import resize_image
from autofuse_jax.registration.coverage import add_rim, border_of, coverage, resize_valid
from autofuse_jax.registration.sampling import sample_rimmed

SHAPE = (8, 9, 10)


def ball(value=1.0, background=0.0):
    """A ball in the middle that ends before the border."""
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing='ij'), -1)
    return np.where(np.linalg.norm(places, axis=-1) < 0.6, value, background).astype(np.float32)


@pytest.mark.parametrize('background', [0.0, 0.4, 1.0])
def test_a_thing_on_a_plain_background_has_open_faces(background):
    border = border_of(ball(0.7, background))
    assert border.open.all() and border.background == pytest.approx(background)


def test_a_face_that_cuts_the_thing_is_closed():
    border = border_of(ball()[:4])
    np.testing.assert_array_equal(border.open, [[True, False], [True, True], [True, True]])
    assert border.background == 0


def test_a_window_of_something_has_no_open_face():
    assert not border_of(np.random.default_rng(0).random(SHAPE)).open.any()


def test_noise_in_the_background_and_a_few_voxels_that_touch_do_not_matter():
    image = ball() + 0.03 * np.random.default_rng(0).random(SHAPE).astype(np.float32)
    image[0, 4, 5] = 1
    assert border_of(image).open.all()


def test_what_a_mask_leaves_out_says_nothing():
    valid = np.ones(SHAPE, np.float32)
    valid[0] = 0
    assert not border_of(ball(), valid).open[0, 0] and border_of(ball(), valid).open[0, 1]
    nothing = border_of(ball(), np.zeros(SHAPE))
    assert not nothing.open.any() and nothing.background == 0


def test_an_edge_of_the_rim_is_known_where_all_its_faces_are_open():
    faces = np.ones((3, 2), bool)
    faces[0, 1] = False
    rim = add_rim(ball(), np.ones(SHAPE), faces)[..., -1]
    assert rim[0].all() and not rim[-1].any() and rim[1:-1, 0].all() and rim[1:-1, :, -1].all()
    assert add_rim(ball(), np.ones(SHAPE), faces).shape == (10, 11, 12, 2)


def test_coverage_fades_within_a_voxel_of_a_closed_face_and_never_ends_at_an_open_one():
    faces = np.array([[True, False], [True, True], [True, True]])
    line = np.zeros((3, 7))
    line[0] = [-50, -1, 0, 7, 7.5, 8, 50]
    line[1:] = 4
    np.testing.assert_allclose(coverage(np.ones(SHAPE), faces, line), [1, 1, 1, 1, 0.5, 0, 0])


def test_values_are_interpolated_between_valid_voxels_only():
    image, valid = np.full(SHAPE, 0.5, np.float32), np.ones(SHAPE, np.float32)
    image[4:], valid[4:] = 99.0, 0.0
    rim = jnp.asarray(add_rim(image, valid, np.zeros((3, 2), bool)))
    positions = np.zeros((5, 1, 1, 3), np.float32) + [0, 4, 4]
    positions[:, 0, 0, 0] = [2.0, 3.0, 3.75, -0.5, 20.0]
    values, known = sample_rimmed(rim, jnp.asarray(positions))
    np.testing.assert_allclose(known.ravel(), [1, 1, 0.25, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(values.ravel()[:4], 0.5, atol=1e-6)


def test_a_rim_within_a_padded_array_is_where_it_is_said_to_be():
    rim = add_rim(ball(), np.ones(SHAPE), np.ones((3, 2), bool))
    padded = np.pad(rim, [(0, 3)] * 3 + [(0, 0)])
    far = jnp.full((1, 1, 1, 3), 40.0)
    last = jnp.asarray(np.asarray(SHAPE) + 1, jnp.float32)
    assert sample_rimmed(jnp.asarray(padded), far, last)[1].item() == 1
    assert sample_rimmed(jnp.asarray(padded), far)[1].item() == 0


def test_resizing_counts_valid_voxels_only():
    image, valid = np.full(SHAPE, 0.5, np.float32), np.ones(SHAPE, np.float32)
    image[:3], valid[:3] = 99.0, 0.0
    values, weights = resize_valid(image, valid, (4, 5, 5))
    np.testing.assert_allclose(values[weights > 0], 0.5, rtol=1e-5)
    assert np.all(values[weights == 0] == 0) and weights.min() == 0
    everywhere = np.ones(SHAPE)
    np.testing.assert_array_equal(resize_valid(ball(), everywhere, (4, 5, 5))[0], resize_image(ball(), (4, 5, 5)))
