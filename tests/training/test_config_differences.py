"""Fields in which configs differ, and fields that a stored config has got since."""

import pytest

from autofuse_jax.configs import default
from autofuse_jax.errors import UserError
from autofuse_jax.training.config_checks import validate
from autofuse_jax.training.config_differences import Difference, differing_fields, with_absent_options


def test_differing_fields_are_sorted_and_say_what_is_absent():
    one = {'seed': 0, 'model': {'width': 8, 'old': True}, 'grid': (1, 2)}
    other = {'model': {'width': 16, 'inner': {'new': None}}, 'seed': 0, 'grid': [1, 2]}
    differences = differing_fields(one, other)
    assert list(map(str, differences)) == [
        'model.inner.new: absent -> None',
        'model.old: True -> absent',
        'model.width: 8 -> 16',
    ]
    assert [difference.in_both for difference in differences] == [False, False, True]
    assert differences[-1] == Difference('model.width', 8, 16)
    assert differing_fields(one, one) == []


def test_a_stored_config_gets_the_options_that_came_later():
    config = default.get_config().copy_and_resolve_references()
    config.unlock()
    del config.model['fusion'], config.loss['smoothness']
    with pytest.raises(UserError, match=r'section model does not belong .* fusion'):
        validate(config)
    del config.optimizer['average_decay'], config.optimizer['multiples'], config.training['tensorboard']
    del config.data['teacher'], config.data.augmentation['elastic'], config['weights']
    config.data.augmentation.rotation = 3.0
    complete = with_absent_options(config)
    assert complete.model.fusion == 'gate' and complete.loss.smoothness == 0.0
    assert complete.optimizer.average_decay == 0.0 and complete.data.augmentation.elastic == 0.0
    assert complete.data.augmentation.rotation == 3.0 and complete.phases == config.phases
    validate(complete)
