"""The schedules of the brain configs are those of the paper, section 4.2, but for the one for two cores."""

import dataclasses
import importlib

import pytest

from autofuse_jax.preparation.brain_labels import MERGED_CLASSES
from autofuse_jax.training.config_checks import check_against_data, validate
from autofuse_jax.training.phases import Phase, phases_of
from tests.data.hand_made import manifest_of, subject


def config_of(name):
    config = importlib.import_module(f'autofuse_jax.configs.{name}').get_config()
    validate(config)
    return config


def test_unsupervised_schedule():
    config = config_of('brain_unsup')
    assert phases_of(config) == (Phase('phase_1', 'inter', 0, 100_000),)
    assert config.model.num_classes == 0


def test_semi_supervised_schedule():
    config = config_of('brain_semi')
    assert phases_of(config) == (
        Phase('phase_1', 'inter_labelled', 0, 50_000),
        Phase('phase_2', 'inter_semi', 50_000, 100_000),
    )
    # 19 merged structures and the background; every label that the data has may be used.
    assert config.model.num_classes == len(MERGED_CLASSES) == 20
    assert config.data.labelled_subjects == -1


@pytest.mark.parametrize('name', ['brain_unsup', 'brain_semi'])
def test_settings_of_the_paper(name):
    config = config_of(name)
    assert config.data.source == 'prepared' and config.evaluation.pairs == 'inter_fixed'
    assert config.optimizer.learning_rate == 1e-4 and config.optimizer.schedule == 'constant'
    assert config.training.batch_size == 1 and config.training.validate_every == 1_000
    assert config.loss.prior_lambda == 50 and config.loss.jacobian == 1e-5
    shape = (144, 192, 160)
    manifest = dataclasses.replace(manifest_of(subject('a', '-+'), shape=shape), classes=MERGED_CLASSES)
    assert check_against_data(config, manifest) == shape


def test_the_part_that_segments_brains_of_2_mm():
    config = config_of('brain_segmentation')
    assert phases_of(config) == (
        Phase('phase_0', 'labelled_frames', 0, 2_500, crop=(64, 64, 64)),
        Phase('phase_1', 'labelled_frames', 2_500, 2_800),
    )
    assert tuple(config.loss.segmentation_phases) == ('phase_0', 'phase_1')
    # A field of a coarser grid than the images' needs sizes of multiples of 32.
    manifest = dataclasses.replace(manifest_of(subject('a', '-+'), shape=(96, 96, 96)), classes=MERGED_CLASSES)
    assert check_against_data(config, manifest) == (96, 96, 96)
