"""What a recipe combines must fit: grids of the branches, kinds of phases, a teacher, groups of parameters."""

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.training.config_checks import validate
from autofuse_jax.training.phases import Phase, phases_of
from configs import cardiac_segmentation, cardiac_taught_semi, default
from configs.comparison.presets import CARDIAC, comparison_config

FRAMES = {'phases.phase_1.pairs': 'labelled_frames'}
SEGMENTED = {'model.num_classes': 4, 'loss.segmentation_phases': ('phase_1',)}


def config_with(fields):
    config = default.get_config()
    config.update_from_flattened_dict(fields)
    return config


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'model.fusion_pooling': (2, 2, 1), 'model.fine_pooling': (2, 2, 2)}, 'divisors of model.fusion_pooling'),
        ({'model.fusion_pooling': (2, 2, 1), 'data.grid': (48, 32, 16)}, r'multiples of \(32, 32, 16\)'),
        (FRAMES, 'does not name that phase'),
        (SEGMENTED, 'names that phase'),
        (SEGMENTED | FRAMES | {'model.num_classes': 0}, 'a network with a segmentation'),
        ({'loss.fusion_phases': ('phase_9',)}, 'names the phase phase_9'),
        ({'loss.fusion_phases': ('phase_1',), 'loss.teacher_phases': ('phase_1',)}, 'of several kinds'),
        ({'data.teacher': 'folder'}, 'a folder of velocities where a term uses them'),
        ({'phases.phase_1.crop': (24, 32, 16)}, r'three multiples of \(16, 16, 16\)'),
        ({'phases.phase_1.crop': (32, 32, 0), 'data.teacher': 'x', 'loss.teacher': 1.0}, 'zeros with data.teacher'),
        (
            {'data.augmentation.elastic': 0.4, 'data.teacher': 'x', 'loss.teacher': 1.0},
            'data.augmentation.elastic is 0.4',
        ),
        ({'optimizer.average_decay': 1.0}, 'less than 1'),
        ({'optimizer.multiples': (('gate_2', -1.0),)}, 'pairs of a name and a factor'),
        ({'optimizer.multiples': ('gate_2', 3.0)}, 'pairs of a name and a factor'),
        ({'optimizer.multiples': (('gate_2', '3'),)}, 'pairs of a name and a factor'),
        ({'optimizer.multiples': (('gate_2', float('inf')),)}, 'pairs of a name and a factor'),
        ({'optimizer.multiples': (('gate_2', 3.0), 0.1)}, 'pairs of a name and a factor'),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        validate(config_with(fields))


def test_a_first_stage_is_one_of_the_phases():
    config = comparison_config(CARDIAC, 'pc_reg')
    config.loss.first_stage = ('phase1',)
    with pytest.raises(UserError, match='names the phase phase1. Expected: phases among phase_1, .*loss.first_stage'):
        validate(config)
    config.loss.first_stage = ()
    validate(config)


def test_a_branch_that_segments_planes_is_trained_somewhere():
    """Phases that train the single branch alone would average its segmentation with one that is drawn at random."""
    config = cardiac_segmentation.get_config()
    config.model.plane_channels = 8
    with pytest.raises(UserError, match='model.plane_channels is 8, and no phase trains'):
        validate(config)
    config.phases.phase_2.steps = 10
    validate(config)
    config.phases.phase_2.steps, config.weights = 0, 'planes.npz'
    validate(config)


def test_frames_alone_in_their_phase_are_accepted():
    validate(config_with(SEGMENTED | FRAMES | {'phases.phase_1.crop': (32, 32, 0)}))


def test_a_phase_knows_its_part():
    config = config_with(FRAMES | {'phases.phase_1.steps': 3, 'phases.phase_1.crop': (32, 32, 0)})
    assert phases_of(config)[0] == Phase('phase_1', 'labelled_frames', 0, 3, (32, 32, 0))
    assert phases_of(config)[1].crop == (0, 0, 0)


def test_the_parts_of_the_cardiac_recipe_have_the_same_branch_that_segments():
    first, second = cardiac_segmentation.get_config(), cardiac_taught_semi.get_config()
    validate(first)
    validate(second)
    for option in ('base_channels', 'fine_channels', 'thin_levels', 'num_classes'):
        assert first.model[option] == second.model[option]
    assert first.model.fusion_pooling == second.model.fine_pooling
