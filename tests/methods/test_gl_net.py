"""GL-Net as a method: perception alone, then everything; with nothing of its own it is VoxelMorph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.methods.registry import METHODS, make_method
from autofuse_jax.models.regions import region_images
from tests.methods.small_pairs import CLASSES, SHAPE, batch_of, params_of, reached
from tests.quick import quick_jit, quick_key

KEY = quick_key()
OPTIONS = {'num_classes': CLASSES, 'base_channels': 4}
ALL = {'perception', 'global_registration', 'local_registration'}
GENTLE = ('global_registration/flow', 'local_registration/flow')
ALONE = {'regions': 0.0, 'dice': 0.0, 'segmentation': 0.0}


@pytest.fixture(scope='module')
def method():
    return make_method('gl_net', OPTIONS, {})


@pytest.fixture(scope='module')
def params(method):
    return params_of(method, gentle=GENTLE)


@pytest.fixture(scope='module')
def gradients(method):
    """Compile (params, batch) -> gradient of the objective of each stage for all parameters."""
    losses = {phase: method.objectives(phase)[0].loss for phase in ('phase_1', 'phase_2')}

    def both(params, batch):
        return {name: jax.grad(lambda p, loss=loss: loss(p, batch, KEY)[0])(params) for name, loss in losses.items()}

    return quick_jit(both)


def test_perception_first_then_everything(method):
    (first,), (joint,) = method.objectives('phase_1'), method.objectives('phase_2')
    assert first.trains == ('perception',) and joint.trains is None
    # Their parameters differ, and so must their optimiser states.
    assert first.name != joint.name
    assert method.objectives('phase_3') == (joint,) and method.uses_labels
    other = make_method('gl_net', OPTIONS, {'first_stage': ()})
    assert other.objectives('phase_1') == other.objectives('phase_2')


@pytest.mark.parametrize(
    ('fixed', 'moving', 'first', 'joint'),
    [
        (1, 1, {'perception'}, ALL),
        (1, 0, {'perception'}, ALL),
        (0, 1, {'perception'}, ALL),
        # Regions are cut out without gradient, so that they do not train what finds them.
        (0, 0, set(), ALL - {'perception'}),
    ],
)
def test_what_each_stage_trains_and_that_missing_labels_have_no_effect(params, gradients, fixed, moving, first, joint):
    clean, garbage = (batch_of(fixed, moving, labels_seed=seed) for seed in (0, 1))
    for role, flag in (('fixed', fixed), ('moving', moving)):
        if flag:
            garbage[f'{role}_labels'] = clean[f'{role}_labels']
    one, other = gradients(params, clean), gradients(params, garbage)
    assert (reached(one['phase_1']), reached(one['phase_2'])) == (first, joint)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
def test_without_regions_and_labels_it_is_voxelmorph(params):
    method, voxelmorph = make_method('gl_net', OPTIONS, ALONE), make_method('voxelmorph', {'base_channels': 4}, {})
    local = params['local_registration']
    zeroed = params | {'local_registration': local | {'flow': jax.tree.map(jnp.zeros_like, local['flow'])}}
    theirs, batch = {'field': params['global_registration']}, batch_of()

    def value_and_gradient(method, phase):
        (objective,) = method.objectives(phase)
        return quick_jit(jax.value_and_grad(lambda params: objective.loss(params, batch, KEY)[0]))

    value, gradient = value_and_gradient(method, 'phase_2')(zeroed)
    expected, expected_gradient = value_and_gradient(voxelmorph, 'phase_2')(theirs)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected_gradient))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * scale),
        gradient['global_registration'],
        expected_gradient['field'],
    )
    one, other = (
        quick_jit(m.predict)(p, batch['fixed'], batch['moving'], KEY)
        for m, p in ((method, zeroed), (voxelmorph, theirs))
    )
    assert np.abs(other.displacement).max() > 0.01
    np.testing.assert_allclose(one.displacement, other.displacement, atol=1e-6)


def test_regions_are_cut_out_by_labels_on_request(params):
    method = make_method('gl_net', OPTIONS, {'roi_from_label': True} | ALONE)
    batch, network = batch_of(1, 0), METHODS['gl_net'].network(**OPTIONS)
    _, diagnostics = quick_jit(method.objectives('phase_2')[0].loss)(params, batch, KEY)

    def smoothness_of(fixed_masks):
        masks = fixed_masks, network.apply({'params': params}, batch['moving'], method='perceive')
        regions = [
            region_images(batch[role], mask, 'soft') for role, mask in zip(('fixed', 'moving'), masks, strict=True)
        ]
        maps = network.apply({'params': params}, batch['fixed'], batch['moving'], *regions, method='register')
        u = maps.of_regions[0]
        return sum(jnp.mean(jnp.square(jnp.diff(u, axis=axis))) for axis in range(3)) / 3

    labels = jax.nn.one_hot(batch['fixed_labels'], CLASSES)
    np.testing.assert_allclose(diagnostics['term/smoothness_local'], quick_jit(smoothness_of)(labels), rtol=1e-4)


def test_prediction(method, params):
    batch = batch_of()
    predict = quick_jit(method.predict)
    one, again = (predict(params, batch['fixed'], batch['moving'], quick_key(seed)) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert one.displacement.shape == (1, *SHAPE, 3) and one.velocity is None
    assert one.fixed_segmentation.shape == (1, *SHAPE, CLASSES)
