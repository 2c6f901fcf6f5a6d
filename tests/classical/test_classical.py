"""All methods without training: settings, what they say where they cannot run, and, where they can, what they find."""

import dataclasses
import sys

import numpy as np
import pytest

from autofuse_jax.classical import CLASSICAL, NiftyRegSettings, SynSettings
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_labels

# Fast enough for tests.
QUICK = {'syn': SynSettings(iterations=(40, 20), threads=1), 'niftyreg': NiftyRegSettings(levels=2, threads=1)}


def ball(centre, radius, shape, affine):
    """A labelled ball with a soft border, given in millimetres."""
    distance = np.linalg.norm(to_world(affine, np.moveaxis(np.indices(shape), 0, -1)) - centre, axis=-1)
    image = 1 / (1 + np.exp(distance - radius))
    return Volume(image.astype(np.float32), (distance < radius).astype(np.int32), affine, 'ball')


def turned(spacing, degrees, shape):
    """An affine with voxels of these sizes, turned about the third axis, its first axis flipped; centred on 0."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([-1, 1, 1] * np.asarray(spacing))
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


@pytest.mark.parametrize('name', CLASSICAL)
def test_finds_a_growing_ball_on_grids_that_differ(name):
    method = CLASSICAL[name]
    available = method.available()
    if not available:
        pytest.skip(available.reason)
    shape, moving_shape = (36, 30, 24), (32, 34, 26)
    fixed = ball((2, 0, 0), 11, shape, turned((1, 1.25, 1.5), 20, shape))
    moving = ball((0, 0, -2), 8, moving_shape, turned((1.2, 1, 1.3), 0, moving_shape))
    labels, displacement, seconds = method.register(fixed, moving, QUICK[name])
    before = sample_labels(moving.labels, moving_positions(None, fixed.grid, moving.affine))
    pulled = DenseTransform(displacement.astype(np.float32), fixed.affine)
    ours = sample_labels(moving.labels, moving_positions(pulled, fixed.grid, moving.affine))
    dice = [dice_per_label(fixed.labels, found, (1,))[1] for found in (before, labels, ours)]
    assert dice[0] < 0.7 and dice[1] > 0.9
    # Our own way of using the displacement gives the program's own labels, up to ties of rounding.
    assert displacement.shape == (*shape, 3)
    assert np.mean(ours != labels) < 2e-3
    assert seconds['seconds'] > 0 and seconds['processor_seconds'] > 0
    unlabelled = dataclasses.replace(moving, labels=None)
    assert method.register(fixed, unlabelled, QUICK[name])[0] is None


@pytest.mark.parametrize(
    ('settings', 'options'),
    [
        (SynSettings, {'iterations': ()}),
        (SynSettings, {'iterations': 100}),
        (SynSettings, {'iterations': (10, -1)}),
        (SynSettings, {'threads': 0}),
        (SynSettings, {'radius': 1.5}),
        (SynSettings, {'gradient_step': 0}),
        (SynSettings, {'flow_sigma': float('nan')}),
        (NiftyRegSettings, {'correlation_sigma': 0}),
        (NiftyRegSettings, {'bending_energy': -1}),
        (NiftyRegSettings, {'levels': True}),
        (NiftyRegSettings, {'iterations': '150'}),
        (NiftyRegSettings, {'timeout_seconds': 0}),
    ],
)
def test_impossible_settings_are_refused(settings, options):
    with pytest.raises(UserError, match='number'):
        settings(**options)


def test_says_why_syn_cannot_run(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ants', None)
    assert 'pip install "autofuse_jax[syn]"' in CLASSICAL['syn'].available().reason


@pytest.mark.parametrize('name', CLASSICAL)
def test_a_series_is_no_image(name):
    series = Volume(np.zeros((4, 4, 4, 2), np.float32), None, np.eye(4), 'cine.nii.gz')
    image = dataclasses.replace(series, image=series.image[..., 0])
    with pytest.raises(UserError, match='moving volume cine.nii.gz .*one image'):
        CLASSICAL[name].register(image, series, CLASSICAL[name].settings())
