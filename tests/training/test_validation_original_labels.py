"""Scores on original labels, where the manifest has them beside the training classes."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.formats import load_npz, store_npz
from autofuse_jax.data.manifests import write_manifest
from autofuse_jax.training.validation import summarise
from tests.data.hand_made import manifest_of, subject, write_data_set
from tests.training.test_validation import SHAPE, predictor_of, score, shifting

LEFT, RIGHT = 300, 1400


@pytest.fixture(scope='module')
def manifest(tmp_path_factory):
    """Two frames of one training class, whose original labels are two halves along the second axis."""
    root = tmp_path_factory.mktemp('halves')
    manifest = write_data_set(manifest_of(subject('a', 'ED+ ES+', split='test'), root=root, shape=SHAPE))
    for frame in manifest.subjects[0].frames:
        arrays = load_npz(root / frame.file)
        original = np.where(arrays['seg'] > 0, LEFT, 0).astype(np.int16)
        # The right half of the ES frame alone is labelled as something else.
        original[:, 2:][original[:, 2:] > 0] = RIGHT if frame.phase == 'ED' else 7
        store_npz(root / frame.file, arrays | {'seg_original': original})
    manifest = dataclasses.replace(manifest, original_classes={LEFT: 'left', RIGHT: 'right'})
    write_manifest(manifest)
    return manifest


def records_of(manifest, method):
    return list(score(manifest, method).values())


def test_original_structures_are_scored(manifest):
    # Pull by -1 brings the ED block onto the ES block; the left halves agree, the right ones have different ids.
    first, _ = records_of(manifest, shifting((-1.0, 0.0, 0.0)))
    assert first['dsc_before_per_label'] == {LEFT: 0.5, RIGHT: 0.0}
    assert first['dsc_after_per_label'] == {LEFT: 1.0, RIGHT: 0.0}
    assert first['dsc_after'] == 0.5


def test_training_classes_are_scored_where_there_are_no_original_ones(manifest):
    first, _ = records_of(dataclasses.replace(manifest, original_classes={}), shifting((-1.0, 0.0, 0.0)))
    assert first['dsc_after_per_label'] == {1: 1.0}


def test_segmentations_are_compared_with_the_training_classes(manifest):
    records = records_of(manifest, shifting(segments=True))
    # The stand-in segments the image, which is the block itself.
    assert records[0]['segmentation_dsc_per_training_class'] == {1: 1.0}
    assert 'segmentation_dsc_per_label' not in records[0]
    assert summarise(records)['segmentation_dsc'] == 1.0
    assert summarise(records)['dsc_after'] == 0.25


def test_pictures_and_tables_show_what_is_scored(manifest):
    predictor = predictor_of(manifest, shifting())
    assert set(np.unique(predictor.volumes(predictor.pairs[0])['moving_labels'])) == {0, LEFT, RIGHT}
    assert manifest.scored_classes == {0: 'background', LEFT: 'left', RIGHT: 'right'}
