"""Both directions of an alignment, held against each other."""

import numpy as np

from autofuse_jax.registration.agreement import agreement_of
from autofuse_jax.registration.alignment_loss import Frame
from autofuse_jax.registration.pyramid import make_level, pad_alike
from tests.registration.scenes import centred_grid, picture, rotation_and_shift

TURN = rotation_and_shift(15.0, (4.0, -6.0, 3.0))
LEVEL = [
    make_level(picture(centred_grid(shape, (3.0, 3.0, 3.0))), 8.0)
    for shape in ((32, 36, 28), (60, 40, 30), (20, 20, 20))
]
FRAME = Frame(LEVEL[0].centre_of_mass_mm(), 40.0)


def agreement(back):
    """Of an alignment that has reached TURN from the identity, and one in the other direction that reaches `back`."""
    starts = []

    def descend(matrix, kind, level, frame):
        assert level == (LEVEL[1], LEVEL[0]) and frame.radius == FRAME.radius
        np.testing.assert_allclose(frame.centre, LEVEL[1].centre_of_mass_mm())
        starts.append((kind, matrix))
        return back

    result = agreement_of(LEVEL[:2], FRAME, TURN @ TURN, TURN, descend, ('rigid', 'affine'))
    assert [kind for kind, _ in starts] == ['rigid', 'affine']
    np.testing.assert_allclose([matrix for _, matrix in starts], [np.linalg.inv(TURN @ TURN), back])
    return result


def test_an_inverse_agrees_and_a_shift_is_as_far_as_it_is_long():
    assert agreement(np.linalg.inv(TURN)).mean_mm < 1e-9
    shifted = agreement(np.linalg.inv(rotation_and_shift(0.0, (3.0, 0.0, 4.0)) @ TURN))
    np.testing.assert_allclose(shifted.mean_mm, 5.0, rtol=1e-9)
    # The scene has radii of 30 to 40 mm.
    assert 5.0 / 40 < shifted.share < 5.0 / 20


def test_an_image_that_shows_nothing_has_no_agreement():
    dark = [LEVEL[0], LEVEL[1]]
    dark[0] = make_level(picture(centred_grid((32, 36, 28), (3.0, 3.0, 3.0)), lambda points: points + 900.0), 8.0)
    assert agreement_of(dark, FRAME, TURN, TURN, lambda *_, **__: TURN, ('rigid',)) is None


def test_levels_of_one_shape_hold_the_same_images():
    alike = pad_alike(LEVEL)
    assert len({level.image.shape for level in alike}) == len({level.rimmed.shape for level in alike}) == 1
    for padded, level in zip(alike, LEVEL, strict=True):
        inner = tuple(slice(size) for size in level.image.shape)
        np.testing.assert_array_equal(padded.image[inner], level.image)
        assert padded.inside.sum() == level.inside.sum() and padded.grid is level.grid
        np.testing.assert_allclose(padded.centre_of_mass_mm(), level.centre_of_mass_mm(), atol=1e-5)
