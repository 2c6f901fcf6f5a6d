"""The preparation of brains with the package's own alignment; with real brains in the slow tests."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.prepared import load_frame, load_original_labels
from autofuse_jax.data.volumes import Volume
from autofuse_jax.preparation.one_brain import align_to_template
from autofuse_jax.prepare import main
from autofuse_jax.registration import alignment

SPACING = 4.0


def smooth_blob(matrix):
    """An ellipsoid with inner structure, drawn where `matrix` (template to subject) brings it."""
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = -SPACING * 15.5
    points = np.moveaxis(np.indices((32, 32, 32)), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    inverse = np.linalg.inv(matrix)
    x, y, z = np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
    inside = (x / 40) ** 2 + (y / 50) ** 2 + (z / 36) ** 2 < 1
    image = inside.astype(np.float64)
    for centre in ((15, 20, 5), (-15, 18, 0), (10, -25, 10), (-12, -15, -15), (0, 0, 18)):
        distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
        image += inside * np.exp(-distance / (2 * 8**2))
    return Volume(ndimage.gaussian_filter(image.astype(np.float32), 0.5), None, affine, 'blob')


def test_labels_and_names_play_no_part_and_the_settings_are_passed_on(monkeypatch):
    seen = []

    def align(fixed, moving, settings):
        seen.append((fixed.image.shape, moving.labels, settings.kind, settings.similarity))
        return alignment.Alignment(np.diag([2.0, 1, 1, 1]), 'header', (), 'ncc')

    monkeypatch.setattr(alignment, 'align', align)
    volume = smooth_blob(np.eye(4))
    labelled = dataclasses.replace(volume, labels=(volume.image > 0).astype(np.uint8))
    matrix, start = align_to_template(volume, labelled, 'rigid', 'mi')
    assert seen == [((32, 32, 32), None, 'rigid', 'mi')] and start == 'header'
    np.testing.assert_array_equal(matrix, np.diag([2.0, 1, 1, 1]))


@pytest.mark.slow
def test_alignment_leads_from_the_template_to_the_subject():
    wanted = np.array([[1.06, 0.05, 0, 7], [-0.04, 0.97, 0.03, -6], [0, 0, 1.04, 5], [0, 0, 0, 1]])
    found, _ = align_to_template(smooth_blob(np.eye(4)), smooth_blob(wanted), 'affine', 'ncc')
    corners = np.array([[x, y, z, 1] for x in (-30, 30) for y in (-40, 40) for z in (-25, 25)])

    def farthest(matrix):
        return np.linalg.norm((corners @ matrix.T - corners @ wanted.T)[:, :3], axis=-1).max()

    # The blob is smooth, so a voxel is what can be asked for; the other direction is far off.
    assert farthest(found) < SPACING < farthest(np.eye(4)) < farthest(np.linalg.inv(found))


@pytest.mark.slow
def test_a_real_brain_on_the_mni_template(real_data, tmp_path):
    pytest.importorskip('nilearn')
    splits = tmp_path / 'splits.json'
    splits.write_text('{"validation": ["1107"]}')
    source = real_data / 'malc2012'
    arguments = ['--dataset=folder', f'--source={source}', f'--out={tmp_path / "out"}', f'--splits={splits}']
    assert main([*arguments, '--labels=neuromorphometrics']) == 0
    manifest = read_manifest(tmp_path / 'out')
    assert manifest.shape == (144, 192, 160) and manifest.spacing == (1.0, 1.0, 1.0)
    measured = manifest.settings['measured']['1107']
    assert measured['cut_percent'] < 0.1 and measured['template_overlap'] > 0.9
    frame = manifest.subjects[0].frames[0]
    volume, original = load_frame(manifest, frame), load_original_labels(manifest, frame)
    # No choroid plexus in this convention: 18 of the 19 structures, and more than a hundred original ones.
    assert len(np.unique(volume.labels)) == 19 and len(np.unique(original)) > 100
    # Left is on the left: the left hippocampus (48) has the smaller first index.
    left, right = (np.argwhere(original == label)[:, 0].mean() for label in (48, 47))
    assert left < 71.5 < right
