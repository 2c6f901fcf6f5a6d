"""What guides is not scored: structures are compared in the world, whatever their ids and grids."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.registration.guide import Guide, class_map
from autofuse_jax.registration.guide_files import GuideFiles, guide_record, guide_sentence, read_guide
from autofuse_jax.registration.guide_overlap import check_not_scored, matches, seen_structures
from autofuse_jax.transforms.grids import ImageGrid, resize_grid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_labels
from tests.registration.scenes import centred_grid, picture

GRID = centred_grid((12, 14, 10), (8.0, 8.0, 8.0))


@pytest.fixture(scope='module')
def volume():
    return picture(GRID)


def guide_on(grid, volume, ids=lambda labels: labels):
    """The labels of a volume on another grid, as a guide of both images."""
    labels = sample_labels(volume.labels, moving_positions(None, grid, volume.affine))
    classes = class_map(ids(labels).astype(np.int32), grid.affine, 'other.nii.gz')
    return Guide(classes, classes)


def test_what_guides_is_not_scored(volume):
    guide = read_guide(GuideFiles(volume.labels, volume.labels), volume, volume)
    with pytest.raises(UserError, match='structure 1 of the guide .* is structure 1 of the labels that are scored'):
        check_not_scored(guide, volume, volume)
    renamed = dataclasses.replace(volume, labels=np.where(volume.labels == 3, -30, 0))
    with pytest.raises(UserError, match='structure 3 .* is structure -30'):
        check_not_scored(guide, renamed, renamed)
    check_not_scored(guide, dataclasses.replace(volume, labels=None), dataclasses.replace(volume, labels=None))
    others = dataclasses.replace(volume, labels=np.roll(volume.labels, 1, axis=0))
    check_not_scored(guide, others, others)


TURNED = GRID.affine @ np.array([[0, -1, 0, 11], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    'grid',
    [
        ImageGrid((10, 12, 14), TURNED),
        resize_grid(GRID, (24, 28, 20)),
        resize_grid(GRID, (18, 21, 10)),
        resize_grid(GRID, (6, 7, 5)),
    ],
    ids=['axes', 'finer', 'between', 'coarser'],
)
def test_another_grid_does_not_hide_a_structure(volume, grid):
    guide = guide_on(grid, volume)
    for one_sided in (dataclasses.replace(guide, moving=None), dataclasses.replace(guide, fixed=None)):
        with pytest.raises(UserError, match='structure 1 of the guide other.nii.gz is structure 1 of the labels'):
            check_not_scored(one_sided, volume, volume)


def test_a_structure_in_parts_is_the_structure(volume):
    halves = np.where(np.arange(14)[:, None] < 7, 0, 10)
    guide = guide_on(GRID, volume, lambda labels: np.where(labels == 1, labels + halves, 0))
    with pytest.raises(UserError, match='structures 1, 11 of the guide .* are together structure 1 of the labels'):
        check_not_scored(guide, volume, volume)


def test_probabilities_are_compared_by_what_they_say(volume):
    shares = np.stack([0.8 * (volume.labels == label) for label in (1, 2)], axis=-1)
    classes = dataclasses.replace(class_map(volume.labels, volume.affine, 'maps'), values=shares, labels=(1, 2))
    with pytest.raises(UserError, match='structure 1 of the guide maps is structure 1'):
        check_not_scored(Guide(classes, classes), volume, volume)


def test_a_union_of_scored_structures_is_said(volume):
    guide = guide_on(resize_grid(GRID, (24, 28, 20)), volume, lambda labels: 5 * (labels > 0))
    check_not_scored(guide, volume, volume)
    record = guide_record(guide, volume, volume, AffineTransform(np.eye(4)))
    assert record['seen'] == [{'class': 5, 'structures': [1, 2, 3], 'dsc': 1.0}]
    sentence = guide_sentence(record)
    assert 'its class 5 is what is scored as 1, 2, 3 (DSC 100.0 %), so that the scores are not those' in sentence
    assert 'the scored labels are others' not in sentence


def test_classes_that_were_aligned_are_not_compared_with_the_moving_image(volume):
    guide = dataclasses.replace(guide_on(GRID, volume), fixed=None, aligned=True)
    check_not_scored(guide, volume, volume)
    assert seen_structures(guide, volume, volume) == []


@pytest.mark.parametrize(('common', 'same'), [(972, False), (990, True)])
def test_two_segmentations_of_one_structure_are_not_the_same(common, same):
    table = {(0, 0): 9000, (1, 2): common, (1, 0): 1000 - common, (0, 2): 1000 - common}
    assert [(match.whole, match.parts) for match in matches(table)] == ([(2, (1,))] if same else [])
