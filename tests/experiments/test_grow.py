"""A grown network gives what the smaller one gave; branches of two networks are joined; misfits are refused."""

import jax
import numpy as np
import pytest

from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.convert import flatten, parameter_structure, unflatten
from autofuse_jax.weights.released import Description, read_released, write_released
from experiments.weights.grow import main
from experiments.weights.join_branches import main as join
from tests.experiments.random_weights import write_random_weights
from tests.quick import quick_jit

MODEL = {
    'base_channels': 2,
    'num_classes': 3,
    'large_kernel': True,
    'fusion_channels': 2,
    'fusion_pooling': (2, 2, 1),
    'fine_channels': 2,
    'thin_levels': 1,
}
CHANGES = ('fine_channels=3', 'compare_slices=True', 'refining_channels=2')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    method = predicting_method('autofuse', MODEL)
    rng = np.random.default_rng(0)
    params = {
        name: rng.normal(scale=0.3, size=leaf.shape).astype(np.float32)
        for name, leaf in flatten(parameter_structure(method)).items()
    }
    path = tmp_path_factory.mktemp('weights') / 'trained.npz'
    write_released(path, params, Description('autofuse', dict(MODEL)))
    return path


@pytest.fixture(scope='module')
def grown(trained):
    path = trained.with_name('grown.npz')
    assert main([f'--weights={trained}', '--model', *CHANGES, f'--out={path}']) == 0
    return path


def outputs(path, pair):
    params, description = read_released(path)
    predict = quick_jit(predicting_method('autofuse', description.model).predict)
    prediction = predict(unflatten(params), *pair, jax.random.key(0))
    return prediction.displacement, prediction.fixed_segmentation


def test_a_grown_network_gives_what_the_smaller_one_gave(trained, grown):
    params, description = read_released(grown)
    assert description.model['fine_channels'] == 3 and description.origin['grown'] == ' '.join(CHANGES)
    first = params['single_branch/conv_0/conv_1/kernel']
    assert first.shape == (3, 3, 3, 1, 3)
    # What is new in the finest layers is there to be learned.
    assert np.all(first[:, :, 0, :, :2] == 0) and np.all(first[..., 2] != 0)
    pair = np.random.default_rng(2).random((2, 1, 32, 32, 16, 1), np.float32)
    for before, after in zip(outputs(trained, pair), outputs(grown, pair), strict=True):
        assert np.ptp(before) > 0.1
        # The branch that refines adds a thousandth of a voxel.
        np.testing.assert_allclose(after, before, atol=2e-3)


def test_a_larger_branch_that_segments_joins_another_that_registers(trained, grown, tmp_path):
    joined = tmp_path / 'joined.npz'
    assert join([f'--segmenting={grown}', f'--registering={trained}', f'--out={joined}']) == 0
    params, description = read_released(joined)
    assert description.model['fine_channels'] == 3 and description.model['compare_slices']
    of_grown, of_trained = (read_released(path)[0] for path in (grown, trained))
    for name, array in params.items():
        source = of_grown if name.startswith('single_branch') else of_trained
        np.testing.assert_array_equal(array, source[name])


def test_a_branch_of_planes_comes_from_the_first_file_or_else_from_the_second(trained, tmp_path):
    planes, both, kept = (tmp_path / f'{name}.npz' for name in ('planes', 'both', 'kept'))
    write_random_weights(planes, MODEL | {'plane_channels': 2})
    assert join([f'--segmenting={planes}', f'--registering={trained}', f'--out={both}']) == 0
    assert join([f'--segmenting={trained}', f'--registering={planes}', f'--out={kept}']) == 0
    of_planes, of_trained = (read_released(path)[0] for path in (planes, trained))
    for path, segmenting in ((both, ('single_branch', 'plane_branch')), (kept, ('plane_branch', 'fusion_branch'))):
        params, description = read_released(path)
        assert description.model['plane_channels'] == 2 and set(params) == set(of_planes)
        for name, array in params.items():
            source = of_planes if name.startswith(segmenting) else of_trained
            np.testing.assert_array_equal(array, source[name])


def test_the_grid_of_the_branch_that_segments_comes_with_it(trained, tmp_path):
    """No parameter shows it: with the other file's the branch would see voxels that it was not trained on."""
    finer, joined = tmp_path / 'finer.npz', tmp_path / 'joined.npz'
    write_random_weights(finer, MODEL | {'fine_pooling': [1, 1, 1]})
    assert join([f'--segmenting={finer}', f'--registering={trained}', f'--out={joined}']) == 0
    assert read_released(joined)[1].model['fine_pooling'] == [1, 1, 1]


def test_branches_that_do_not_fit_are_one_line(trained, tmp_path, capsys):
    wide = tmp_path / 'wide.npz'
    model = MODEL | {'base_channels': 3}
    shapes = flatten(parameter_structure(predicting_method('autofuse', model)))
    write_released(
        wide, {name: np.ones(leaf.shape, np.float32) for name, leaf in shapes.items()}, Description('autofuse', model)
    )
    assert join([f'--segmenting={wide}', f'--registering={trained}', f'--out={tmp_path}/joined.npz']) == 2
    error = capsys.readouterr().err
    assert 'the weights do not fit the network' in error and not (tmp_path / 'joined.npz').exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('fine_channels=1', 'a network that is larger in every layer'),
        ('num_classes=0', 'a network that is larger in every layer'),
        ('large_kernel=False', 'the other network has no fusion_branch/gate_'),
        ('fine_channels', 'OPTION=VALUE'),
        ('fine_channels=wide', 'a whole number, True or False'),
        ('width=3', 'width'),
    ],
)
def test_what_does_not_fit_is_one_line(trained, tmp_path, capsys, change, message):
    out = tmp_path / 'grown.npz'
    assert main([f'--weights={trained}', '--model', change, f'--out={out}']) == 2
    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error and not out.exists()
