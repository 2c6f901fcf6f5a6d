"""The picture of a registered pair."""

import numpy as np
import pytest
from matplotlib.image import imread

from autofuse_jax.data.phantom import CLASSES, random_phantom, render_frame, true_displacement
from autofuse_jax.metrics.warping import warp_image, warp_labels
from autofuse_jax.reports.pictures import FOLDED_COLOUR, PALETTE, pair_picture


def pair(with_labels: bool = True) -> dict:
    phantom = random_phantom(np.random.default_rng(3), shape=(24, 28, 12), spacing=(6.0, 6.0, 8.0))
    fixed, fixed_labels = render_frame(phantom, 1)
    moving, moving_labels = render_frame(phantom, phantom.systole)
    displacement = true_displacement(phantom, 1, phantom.systole)
    arrays = {
        'fixed': fixed,
        'moving': moving,
        'warped': warp_image(moving, displacement),
        'displacement': displacement,
        'spacing': phantom.spacing,
        'title': 'phantom',
    }
    if with_labels:
        arrays |= {
            'fixed_labels': fixed_labels,
            'moving_labels': moving_labels,
            'warped_labels': warp_labels(moving_labels, displacement),
            'classes': CLASSES,
        }
    return arrays


def draw(path, **arrays) -> np.ndarray:
    pair_picture(path, **arrays)
    return np.rint(255 * imread(path)[..., :3]).astype(int)


def count(picture: np.ndarray, colour: str) -> int:
    """Pixels of exactly this colour."""
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return int((picture == wanted).all(-1).sum())


def test_picture_shows_every_structure_and_depends_on_the_displacement(tmp_path):
    arrays = pair()
    first = draw(tmp_path / 'new' / 'first.png', **arrays)
    assert first.shape[0] > 600 and first.shape[1] > 1200
    assert (tmp_path / 'new' / 'first.png').stat().st_size > 20_000
    for colour in PALETTE[:3]:
        assert count(first, colour) > 200
    second = draw(tmp_path / 'second.png', **{**arrays, 'displacement': np.zeros_like(arrays['displacement'])})
    changed = (first != second).any(-1)
    # The grid (upper right) and the Jacobian (lower row, third) change; the images on the left do not.
    height, width = changed.shape
    assert changed[: height // 2, 3 * width // 4 :].sum() > 500
    assert changed[height // 2 :, width // 2 : 3 * width // 4].sum() > 500
    assert changed[: height // 2, : width // 2].sum() == 0


def test_same_input_same_picture(tmp_path):
    arrays = pair()
    np.testing.assert_array_equal(draw(tmp_path / 'a.png', **arrays), draw(tmp_path / 'b.png', **arrays))


def test_labels_are_optional_and_folding_is_marked(tmp_path):
    arrays = pair(with_labels=False)
    plain = draw(tmp_path / 'plain.png', **arrays)
    assert count(plain, PALETTE[0]) == 0
    folded = arrays['displacement'].copy()
    # u_0 = -2 x_0 mirrors the first axis: the determinant is -1 everywhere.
    folded[..., 0] = -2 * np.arange(24)[:, None, None]
    marked = draw(tmp_path / 'folded.png', **{**arrays, 'displacement': folded})
    assert count(marked, FOLDED_COLOUR) > 20 * count(plain, FOLDED_COLOUR)


def test_arrays_of_different_shapes_are_refused(tmp_path):
    arrays = pair()
    with pytest.raises(ValueError, match=r'\(24, 28, 11\) does not fit .* \(24, 28, 12\)'):
        pair_picture(tmp_path / 'a.png', **{**arrays, 'warped': arrays['warped'][..., :-1]})
    assert not list(tmp_path.iterdir())
