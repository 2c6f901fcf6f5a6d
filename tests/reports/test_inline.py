"""Panels of a registration as a picture for a notebook."""

import io

import numpy as np
import pytest
from PIL import Image

from autofuse_jax.reports.inline import GRID, JACOBIAN, MOVED, one_plane, panels_picture
from autofuse_jax.reports.registration_view import view_registration


def view(spacing=(1.0, 1.0, 1.0)):
    shape = (20, 24, 16)
    image = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[5:15, 6:16, 4:12] = 1
    return view_registration(
        fixed=image,
        before=np.roll(image, 1, axis=0),
        after=image,
        displacement=np.zeros((*shape, 3), np.float32),
        jacobian=np.ones(shape, np.float32),
        affine=np.diag([*spacing, 1.0]),
        labels=(labels, None, labels),
    )


def size_of(picture):
    # What a notebook asks for.
    return Image.open(io.BytesIO(picture._repr_png_())).size


def test_each_panel_has_its_place_and_scales_theirs():
    (one, height), (two, same), (coloured, higher) = (
        size_of(panels_picture(view(), panels, {1: 'one'})) for panels in ([MOVED], [MOVED, MOVED], [GRID, JACOBIAN])
    )
    assert two > 1.8 * one and same == height
    assert coloured == two and higher > height


def test_plane_is_the_first_of_three_or_the_middle_of_a_stack():
    three, stack = view(), view(spacing=(1.0, 1.0, 6.0))
    assert one_plane(three).views == three.views[:1]
    assert len(stack.views) == 3 and one_plane(stack).views == stack.views[1:2]


def test_unknown_panel_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="no panel 'movie', only fixed, moving"):
        panels_picture(view(), ['movie'])


def test_picture_is_written_as_a_file_and_says_little_of_itself(tmp_path):
    picture = panels_picture(view())
    picture.save(tmp_path / 'new' / 'one.png')
    assert (tmp_path / 'new' / 'one.png').read_bytes() == picture.png
    assert len(repr(picture)) < 100
