"""Strain of a wall: by hand, and on the phantom against lengths of circles that move with its tissue."""

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.data.phantom import random_phantom, render_frame, true_displacement
from autofuse_jax.data.phantom_anatomy import CLASSES, MYOCARDIUM
from autofuse_jax.metrics.strain import CIRCUMFERENTIAL, RADIAL, deformation_gradient, find_wall, strain_curves

SPACING = (1.5, 1.0, 3.0)
NAMES = {1: 'wall', 2: 'cavity'}


def ring():
    """A tube of 6 to 9 mm radius around a cavity, in voxels that are longer one way."""
    labels = np.zeros((22, 33, 5), int)
    distance = np.linalg.norm(from_middle(labels.shape)[..., :2], axis=-1)
    labels[distance < 9] = 1
    labels[distance < 6] = 2
    return labels


def from_middle(shape):
    """Millimetres from the middle of the array, (..., 3)."""
    return np.moveaxis(np.indices(shape, float), 0, -1) * SPACING - (np.array(shape) - 1) / 2 * SPACING


def test_a_tube_that_widens_everywhere_is_longer_across_and_around():
    labels = ring()
    still = np.zeros((*labels.shape, 3))
    wider = 0.25 * from_middle(labels.shape) * [1, 1, 0] / SPACING
    curves = strain_curves(labels, [still, wider], NAMES, SPACING)
    # The cavity does not surround its middle: it holds it.
    assert set(curves) == {RADIAL, CIRCUMFERENTIAL} and set(curves[RADIAL]) == {'wall'}
    assert curves[RADIAL]['wall'] == pytest.approx([0, 25]) and curves[CIRCUMFERENTIAL]['wall'] == pytest.approx(
        [0, 25]
    )


def test_a_wall_that_keeps_its_volume_becomes_thicker_as_it_becomes_shorter():
    labels = ring()
    points = from_middle(labels.shape)
    radius = np.linalg.norm(points[..., :2], axis=-1, keepdims=True)
    # Radius r becomes sqrt(r^2 - 11): around it shrinks to that share of r, across it grows by the inverse.
    inner = np.sqrt(np.maximum(radius**2 - 11, 1e-3))
    displacement = points * [1, 1, 0] * (inner / np.maximum(radius, 1e-9) - 1) / SPACING
    curves = strain_curves(labels, [displacement], NAMES, SPACING)
    inside = labels == 1
    share = (inner / np.maximum(radius, 1e-9))[..., 0][inside]
    assert curves[CIRCUMFERENTIAL]['wall'][0] == pytest.approx(100 * (share.mean() - 1), abs=0.7)
    assert curves[RADIAL]['wall'][0] == pytest.approx(100 * ((1 / share).mean() - 1), abs=2)


@pytest.mark.parametrize('thickness', [0.2, 8.0])
def test_a_single_slice_is_measured_within_it(thickness):
    labels = ring()[:, :, 2:3]
    wider = 0.25 * from_middle(labels.shape) * [1, 1, 0] / SPACING
    curves = strain_curves(labels, [wider], NAMES, (*SPACING[:2], thickness))
    assert curves[RADIAL]['wall'] == pytest.approx([25]) and curves[CIRCUMFERENTIAL]['wall'] == pytest.approx([25])


def test_turning_is_no_strain():
    labels = ring()
    points = from_middle(labels.shape)
    angle = 0.5
    turned = points @ np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    curves = strain_curves(labels, [(turned - points) / SPACING], NAMES, SPACING)
    assert curves[RADIAL]['wall'][0] == pytest.approx(0, abs=1e-9)
    assert curves[CIRCUMFERENTIAL]['wall'][0] == pytest.approx(0, abs=1e-9)


def test_directions_lie_in_the_slices():
    wall = find_wall(ring() == 1, SPACING, 2)
    assert len(wall.voxels) == (ring() == 1).sum()
    np.testing.assert_allclose(wall.radial[:, 2], 0)
    np.testing.assert_allclose((wall.radial * wall.circumferential).sum(1), 0, atol=1e-12)
    away = from_middle(ring().shape)[tuple(wall.voxels.T)]
    assert ((wall.radial * away).sum(1) > 0).all()


def test_half_a_ring_and_nothing_have_no_strain():
    labels = ring()
    labels[11:] = 0
    assert strain_curves(labels, [np.zeros((*labels.shape, 3))], NAMES, SPACING) == {}
    assert strain_curves(labels, [], {}, SPACING) == {}


def test_the_gradient_is_in_millimetres():
    displacement = np.zeros((4, 4, 4, 3))
    # Half a voxel of 3 mm for each voxel of 1 mm.
    displacement[..., 2] = 0.5 * np.arange(4.0)[:, None]
    gradient = deformation_gradient(displacement, SPACING)
    np.testing.assert_allclose(gradient, np.broadcast_to([[1, 0, 0], [0, 1, 0], [0, 1.5, 1]], gradient.shape))


def test_the_phantom_shortens_around_as_circles_of_its_tissue_do():
    phantom = random_phantom(np.random.default_rng(3), frames=6, shape=(72, 72, 24), spacing=(2.0, 2.0, 4.0))
    labels = render_frame(phantom, 1)[1]
    displacement = true_displacement(phantom, 1, phantom.systole)
    curves = strain_curves(
        labels, [displacement], {label: name for label, name in CLASSES.items() if label}, phantom.spacing
    )
    assert set(curves[RADIAL]) == {CLASSES[MYOCARDIUM]}
    found = curves[CIRCUMFERENTIAL][CLASSES[MYOCARDIUM]][0]
    # Circles of many points in the middle of the wall, before and after.
    wall = find_wall(labels == MYOCARDIUM, phantom.spacing, 2)
    changes = []
    for number in np.unique(wall.voxels[:, 2]):
        places = wall.voxels[wall.voxels[:, 2] == number]
        middle = places.mean(axis=0)
        radius = np.linalg.norm(places - middle, axis=1).mean()
        angles = np.linspace(0, 2 * np.pi, 400)
        circle = middle + radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1)
        moved = circle + np.stack(
            [ndimage.map_coordinates(displacement[..., i], circle.T, order=1) for i in range(3)], axis=-1
        )
        before, after = (
            np.linalg.norm(np.diff(points * phantom.spacing, axis=0), axis=1).sum() for points in (circle, moved)
        )
        changes.append(100 * (after / before - 1))
    assert found < -10 and found == pytest.approx(np.mean(changes), abs=2)
    assert curves[RADIAL][CLASSES[MYOCARDIUM]][0] > 10
