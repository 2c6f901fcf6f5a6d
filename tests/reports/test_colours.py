"""Colours that every reader can tell apart."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from autofuse_jax.reports.colours import (
    FIXED_OUTLINE,
    JACOBIAN_SCALE,
    MOVING_OUTLINE,
    PALETTE,
    difference_scale,
    displacement_scale,
    on_white,
    structure_colours,
)

# What readers without cones of one kind see, in linear RGB: Machado, Oliveira and Fernandes, A physiologically-based
# model for simulation of color vision deficiency, IEEE Trans. Vis. Comput. Graph. 15, 2009, for severity 1.
SEEN = {
    'all cones': np.eye(3),
    'without long': [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    'without medium': [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    'without short': [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIELAB under daylight (D65)."""
    encoded = np.array(to_rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    x, y, z = TO_XYZ @ np.clip(np.asarray(seen) @ linear, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = (np.cbrt(value) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize('seen', SEEN.values(), ids=SEEN)
def test_colours_stay_apart_for_colour_blind_readers(seen):
    def smallest(colours):
        places = [lab(colour, seen) for colour in colours]
        return min(np.linalg.norm(first - second) for first, second in itertools.combinations(places, 2))

    assert smallest(PALETTE) > 22
    assert smallest([FIXED_OUTLINE, MOVING_OUTLINE]) > 90
    # On paper the first ones, which most plots need.
    assert smallest([on_white(colour) for colour in PALETTE[:4]]) > 22


def test_structures_take_the_colours_in_order_and_start_again():
    colours = structure_colours(range(5, 5 + len(PALETTE) + 1))
    assert colours[5] == colours[5 + len(PALETTE)] == PALETTE[0] and colours[6] == PALETTE[1]


def test_scales_have_ticks_at_equal_distances_and_their_end_colours():
    for scale in (JACOBIAN_SCALE, difference_scale(0.5), displacement_scale(8.0)):
        places = [float(scale.norm(value)) for value in scale.ticks]
        np.testing.assert_allclose(places, np.linspace(0, 1, len(places)), atol=1e-12)
        assert scale.ramp[0] != scale.ramp[-1]
    assert list(displacement_scale(8.0).ticks.values()) == ['0.0', '4.0', '8.0']
    # The middle of a small scale is not its end.
    assert list(displacement_scale(0.1).ticks.values()) == ['0.00', '0.05', '0.10']
    assert list(displacement_scale(0.0003).ticks.values()) == ['0.00000', '0.00015', '0.00030']
    assert difference_scale(1.0).ramp[0] == matplotlib.colors.to_hex(matplotlib.colormaps['inferno'](0.0))
