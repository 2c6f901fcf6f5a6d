"""Every check of a config, by a value it must refuse; and the configs that come with the package, which it must not."""

import functools
import importlib
import json
from pathlib import Path

import jax
import pytest
from autofuse_jax.configs.comparison.presets import CARDIAC, comparison_config
from ml_collections import ConfigDict

from autofuse_jax.configs import default
from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from autofuse_jax.training.config_checks import check_against_data, validate
from autofuse_jax.training.phases import Phase, phases_of
from tests.data.hand_made import manifest_of, subject

CONFIGS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / 'configs').glob('[!_]*.py'))
NAN = float('nan')


def config_with(**fields):
    config = default.get_config()
    config.update_from_flattened_dict({name.replace('__', '.'): value for name, value in fields.items()})
    return config


# Field, a value that must be refused, words that say what is allowed.
WRONG = [
    ('method', 'demons', 'one of autofuse'),
    ('data.source', 'web', 'one of prepared, phantom'),
    ('data.grid', (32, 32, 24), 'three multiples of 16'),
    ('data.grid', (32, 32, 0), 'three multiples of 16'),
    ('data.grid', (32, 32, -16), 'three multiples of 16'),
    ('data.grid', (32, 32), 'three multiples of 16'),
    ('data.labelled_subjects', -2, '-1 or more'),
    ('data.cache_gib', -0.5, '0 or more'),
    ('data.threads', -1, '0 or more'),
    ('data.augmentation.rotation', -1.0, '0 or more'),
    ('data.augmentation.scale', -0.1, '0 or more'),
    ('data.augmentation.scale', 1.0, 'less than 1'),
    ('data.augmentation.shift', -0.1, '0 or more'),
    ('data.augmentation.gamma', -0.1, '0 or more'),
    ('model.base_channels', 0, '1 or more'),
    ('model.num_classes', -1, '0 or more'),
    ('model.num_classes', 1, '2 or more'),
    ('model.fusion', 'add', 'one of gate, sum, concat, none'),
    ('model.output', 'flow', 'one of velocity, displacement'),
    ('model.segmentation_feedback', 'hard', 'one of softmax, argmax'),
    ('model.remat', 'some', 'names among all, full_resolution, activations, gates, 1, 2'),
    ('model.remat', 'none,2', "'none' or names among"),
    ('training.precision', 'half', 'one of default, float32, bfloat16'),
    ('loss.kl', -0.01, '0 or more'),
    ('loss.kl', NAN, '0 or more'),
    ('loss.prior_lambda', -1.0, '0 or more'),
    ('loss.jacobian', -1e-5, '0 or more'),
    ('loss.jacobian_reduction', 'max', 'one of sum, mean'),
    ('loss.ncc_window', 0, '1 or more'),
    ('loss.ncc_window', 8, 'an odd number'),
    ('loss.segmentation', -1.0, '0 or more'),
    ('loss.fusion', -1.0, '0 or more'),
    ('loss.consistency_grad', 'none', 'one of both, seg_only, flow_only'),
    ('loss.inverse', -1.0, '0 or more'),
    ('loss.smoothness', -1.0, '0 or more'),
    ('optimizer.learning_rate', 0.0, 'above 0'),
    ('optimizer.learning_rate', -1e-4, 'above 0'),
    ('optimizer.learning_rate', NAN, 'above 0'),
    ('optimizer.schedule', 'linear', 'one of constant, cosine'),
    ('optimizer.warmup_steps', -1, '0 or more'),
    ('optimizer.warmup_steps', 50_000, 'less than the 50000 steps of training'),
    ('optimizer.clip_norm', -1.0, '0 or more'),
    ('phases.phase_1.steps', -1, '0 or more'),
    ('phases.phase_1.pairs', 'random', 'one of ed_es, intra_random, semi, inter'),
    ('phases.phase_2.pairs', 'ED-ES', 'one of ed_es, intra_random, semi, inter'),
    ('seed', -1, '0 or more, at most 4294967295'),
    ('training.batch_size', 0, '1 or more'),
    ('training.devices', -1, '0 or more'),
    ('training.log_every', 0, '1 or more'),
    ('training.validate_every', 0, '1 or more'),
    ('training.checkpoint_every', 0, '1 or more'),
    ('training.max_minutes', -1.0, '0 or more'),
    ('training.max_minutes', NAN, '0 or more'),
    ('evaluation.split', 'dev', 'one of train, validation, test'),
    ('evaluation.pairs', 'semi', 'one of ed_es'),
    ('evaluation.pictures', -2, '-1 or more'),
]


@pytest.mark.parametrize(('field', 'value', 'allowed'), WRONG, ids=[f'{field}={value}' for field, value, _ in WRONG])
def test_wrong_value_names_field_value_and_what_is_allowed(field, value, allowed):
    with pytest.raises(UserError) as raised:
        validate(config_with(**{field: value}))
    text = str(raised.value)
    assert text.startswith(f'{field} is {value!r}')
    assert allowed in text
    assert 'To fix: ' in text


def test_wrong_value_says_how_to_set_it_right():
    with pytest.raises(UserError, match='--config.training.batch_size=VALUE'):
        validate(config_with(training__batch_size=0))
    with pytest.raises(UserError, match='correct loss.kl, in the config or by --config.FIELD=VALUE'):
        validate(config_with(loss__kl=-1.0))


def test_symmetric_inference_needs_a_velocity():
    with pytest.raises(UserError, match="inference.symmetric is on with model.output 'displacement'"):
        validate(config_with(inference__symmetric=True, model__output='displacement'))


def test_symmetric_inference_of_a_method_that_always_predicts_a_velocity():
    config = config_with(method='early_fuse', inference__symmetric=True)
    config.model = ConfigDict({'base_channels': 32, 'remat': 'none'})
    validate(config)


@pytest.mark.parametrize(
    ('grid', 'fix'),
    [
        # 40 is 2.5 blocks of 16, and Python rounds that to the even 2; 8 becomes the smallest grid.
        ((40, 50, 8), 'set data.grid=(32, 48, 16)'),
        ((32, 32), 'give three numbers'),
    ],
)
def test_wrong_grid_suggests_another(grid, fix):
    with pytest.raises(UserError) as raised:
        validate(config_with(data__grid=grid))
    assert fix in str(raised.value)


@pytest.mark.parametrize(
    'fields',
    [
        {'data__grid': (0, 0, 0)},
        {'data__grid': (16, 32, 160)},
        {'data__labelled_subjects': 0},
        {'data__cache_gib': 0.0},
        {'data__augmentation__rotation': 15.0, 'data__augmentation__scale': 0.2},
        {'model__num_classes': 2},
        {'loss__ncc_window': 1},
        {'loss__kl': 0.0, 'loss__jacobian': 0.0, 'loss__inverse': 1.0},
        {'optimizer__warmup_steps': 49_999},
        {'evaluation__pictures': -1},
        {'phases__phase_1__steps': 0},
    ],
)
def test_limits_are_allowed(fields):
    validate(config_with(**fields))


def test_training_needs_a_step():
    with pytest.raises(UserError, match='all phases have 0 steps.*set phases.phase_1.steps'):
        validate(config_with(phases__phase_1__steps=0, phases__phase_2__steps=0))


def test_phases_follow_the_order_of_their_names_without_those_of_no_steps():
    config = default.get_config()
    config.phases = {
        'b': {'steps': 20, 'pairs': 'semi'},
        'c': {'steps': 0, 'pairs': 'inter'},
        'd': {'steps': 5, 'pairs': 'ed_es'},
        'a': {'steps': 10, 'pairs': 'inter'},
    }
    assert phases_of(config) == (Phase('a', 'inter', 0, 10), Phase('b', 'semi', 10, 30), Phase('d', 'ed_es', 30, 35))


def test_classes_must_be_those_of_the_data():
    manifest = manifest_of(subject('a', 'ED+ ES+'), shape=(32, 32, 16))
    with pytest.raises(UserError, match='model.num_classes is 4') as raised:
        check_against_data(config_with(model__num_classes=4), manifest)
    for words in ('nowhere has 2 classes (0 background, 1 ventricle)', 'model.num_classes=2, or 0 for unsupervised'):
        assert words in str(raised.value)
    for classes in (0, 2):
        assert check_against_data(config_with(model__num_classes=classes), manifest) == (32, 32, 16)


def test_shape_of_the_data_must_fit_unless_a_grid_is_given():
    manifest = manifest_of(subject('a', 'ED+ ES+'), shape=(40, 32, 10))
    with pytest.raises(UserError, match='the shape of the data in nowhere is') as raised:
        check_against_data(default.get_config(), manifest)
    assert '(40, 32, 10)' in str(raised.value)
    assert 'set data.grid=(32, 32, 16)' in str(raised.value)
    assert check_against_data(config_with(data__grid=(48, 32, 16)), manifest) == (48, 32, 16)


@functools.cache
def parameter_count(name, model, shape):
    """Trace the initialisation of a network; configs that share one are traced once."""
    method = make_method(name, json.loads(model), {})
    params = jax.eval_shape(lambda: method.init(jax.random.key(0), shape))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize('name', CONFIGS)
def test_config_of_the_package_is_valid_and_its_model_can_be_built(name):
    config = importlib.import_module(f'autofuse_jax.configs.{name}').get_config()
    validate(config)
    assert phases_of(config)
    method = make_method(config.method, config.model.to_dict(), config.loss.to_dict())
    smallest = (-(-size // step) * step for size, step in zip((32, 32, 16), method.multiple, strict=True))
    shape = tuple(config.data.grid) if any(config.data.grid) else tuple(smallest)
    assert method.uses_labels == (config.model.num_classes > 0)
    assert parameter_count(config.method, json.dumps(config.model.to_dict()), shape) > 10_000


def test_there_are_configs():
    assert {'default', 'quickstart', 'cardiac_unsup', 'cardiac_semi', 'cardiac_cpu_unsup'} <= set(CONFIGS)


def test_a_method_that_learns_from_labels_needs_some():
    unlabelled = manifest_of(subject('a', 'ED ES'), subject('b', 'ED+ ES+', 'test'), shape=(32, 32, 16))
    with pytest.raises(UserError, match='autofuse is trained with labels, but no training subject in nowhere has any'):
        check_against_data(config_with(model__num_classes=2), unlabelled)
    assert check_against_data(config_with(model__num_classes=0), unlabelled) == (32, 32, 16)


def test_weakly_supervised_training_needs_the_classes_of_the_data():
    config = comparison_config(CARDIAC, 'ws_voxelmorph')
    with pytest.raises(UserError, match='loss.num_classes is 4, but the data in nowhere has 2 classes'):
        check_against_data(config, manifest_of(subject('a', 'ED+ ES+'), shape=(32, 32, 16)))


def test_a_network_with_positions_works_on_its_own_size_only():
    config = comparison_config(CARDIAC, 'dtn')
    manifest = manifest_of(subject('a', 'ED+ ES+'), shape=(32, 32, 16))
    with pytest.raises(UserError, match=r'made for size \(128, 128, 32\), and the grid is \(32, 32, 16\)'):
        check_against_data(config, manifest)
    config.model.size = (32, 32, 16)
    assert check_against_data(config, manifest) == (32, 32, 16)


def test_parts_of_volumes_are_no_larger_than_they_are():
    manifest = manifest_of(subject('a', 'ED+ ES+'), shape=(32, 32, 16))
    assert check_against_data(config_with(phases__phase_1__crop=(32, 16, 0)), manifest) == (32, 32, 16)
    with pytest.raises(UserError, match=r'phases.phase_1.crop is \(48, 0, 0\) for volumes of \(32, 32, 16\) voxels'):
        check_against_data(config_with(phases__phase_1__crop=(48, 0, 0)), manifest)


def test_a_network_with_positions_sees_no_parts():
    config = comparison_config(CARDIAC, 'dtn').unlock()
    config.model.size, config.phases.phase_1.crop = (32, 32, 16), (16, 0, 0)
    with pytest.raises(
        UserError, match=r'phases.phase_1.crop is \(16, 0, 0\), and the network of dtn is made for size'
    ):
        check_against_data(config, manifest_of(subject('a', 'ED+ ES+'), shape=(32, 32, 16)))


@pytest.mark.parametrize('section', ['loss', 'inference'])
def test_options_of_another_method_are_refused(section):
    config = comparison_config(CARDIAC, 'voxelmorph')
    config[section] = default.get_config()[section]
    with pytest.raises(UserError, match=f'the section {section} does not belong to method .voxelmorph.'):
        validate(config)


# What a config file may hold, whose fields have the types of their defaults on the command line only.
OTHER_TYPES = [
    ('data.grid', 32, 'three multiples of 16'),
    ('data.grid', None, 'three multiples of 16'),
    ('data.grid', (32, 32.0, 16), 'three multiples of 16'),
    ('evaluation.pairs', ['ed_es'], 'one of ed_es'),
    ('optimizer.average_decay', '0.9', 'less than 1'),
    ('optimizer.average_decay', None, 'less than 1'),
    ('optimizer.multiples', None, 'pairs of a name and a factor'),
    ('optimizer.multiples', 0.1, 'pairs of a name and a factor'),
    ('phases.phase_1.crop', 32, r'three multiples of \(16, 16, 16\)'),
    ('phases.phase_1.crop', ('32', '32', '16'), r'three multiples of \(16, 16, 16\)'),
    ('phases.phase_1.pairs', ['ed_es'], 'one of ed_es'),
    ('phases.phase_1', 1000, 'a section with the fields steps and pairs'),
    ('phases.phase_1', {'steps': 1000}, 'a section with the fields steps and pairs'),
    ('phases', None, 'a section with the fields steps and pairs'),
    ('reproduce_official', 'no', 'True or False'),
    ('training.tensorboard', 'no', 'True or False'),
    ('training.check_memory', None, 'True or False'),
]


@pytest.mark.parametrize(('field', 'value', 'allowed'), OTHER_TYPES)
def test_values_of_other_types_are_refused_in_one_line(field, value, allowed):
    content = default.get_config().to_dict()
    *sections, name = field.split('.')
    functools.reduce(dict.__getitem__, sections, content)[name] = value
    with pytest.raises(UserError, match=rf'^{field} is .*Expected: .*{allowed}'):
        validate(ConfigDict(content))


@pytest.mark.parametrize('field', ['data.threads', 'training.batch_size', 'evaluation.split'])
def test_what_is_missing_is_named(field):
    config = default.get_config()
    section, _, name = field.rpartition('.')
    with config.unlocked():
        del config[section][name]
    with pytest.raises(UserError, match=f'the config has no {field}'):
        validate(config)
