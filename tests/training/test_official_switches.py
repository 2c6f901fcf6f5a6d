"""`reproduce_official` sets every switch, each of which exists and differs from the default."""

import pytest

from autofuse_jax.configs import (
    cardiac_semi,
    cardiac_trans_semi,
    cardiac_trans_unsup,
    cardiac_unsup,
    default,
    quickstart_trans,
)
from autofuse_jax.methods.registry import make_method
from autofuse_jax.training.config_checks import validate
from autofuse_jax.training.official_switches import OFFICIAL_SWITCHES, with_official_switches

CONFIGS = [cardiac_semi, cardiac_unsup, cardiac_trans_semi, cardiac_trans_unsup, quickstart_trans]
# Our additions are off by default already, and the sum is ours, too.
SAME_AS_DEFAULT = {'loss.inverse', 'inference.symmetric', 'loss.jacobian_reduction'}


def value_of(config, field):
    section, name = field.split('.')
    return config[section][name]


@pytest.mark.parametrize('module', CONFIGS)
def test_every_switch_is_set(module):
    config = module.get_config()
    config.reproduce_official = True
    official = with_official_switches(config)
    for field, value in OFFICIAL_SWITCHES.items():
        if field.split('.')[1] in config[field.split('.')[0]]:
            assert value_of(official, field) == value, field
    # What was given stays as it was.
    assert config.loss.label_warp == 'linear'
    validate(official)


def test_every_switch_exists_and_is_off_by_default():
    config = default.get_config()
    config.model = default.autofuse_trans_model()
    same = {field for field, value in OFFICIAL_SWITCHES.items() if value_of(config, field) == value}
    assert same == SAME_AS_DEFAULT
    assert config.reproduce_official is False


def test_switches_override_additions():
    config = default.get_config()
    config.reproduce_official, config.loss.inverse, config.inference.symmetric = True, 1.0, True
    official = with_official_switches(config)
    assert official.loss.inverse == 0 and not official.inference.symmetric


def test_without_it_nothing_changes():
    config = default.get_config()
    config.loss.label_warp = 'nearest'
    assert with_official_switches(config).to_dict() == config.to_dict()


@pytest.mark.parametrize(('classes', 'branch'), [(4, 'convolutional'), (0, 'swin')])
def test_branches_are_those_of_the_released_networks(classes, branch):
    config = cardiac_trans_unsup.get_config()
    config.reproduce_official, config.model.num_classes = True, classes
    assert with_official_switches(config).model.single_branch == branch


@pytest.mark.parametrize('module', CONFIGS)
def test_configs_build_their_method(module):
    config = module.get_config()
    validate(config)
    sections = (config.model.to_dict(), config.loss.to_dict(), config.inference.to_dict())
    assert make_method(config.method, *sections).uses_labels == (config.model.num_classes > 0)
