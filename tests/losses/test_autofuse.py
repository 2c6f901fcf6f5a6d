"""The objective: its sum, its masks, and which term trains what."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import warp_labels, warp_linear
from autofuse_jax.losses import focal_dice_loss, local_ncc, negative_jacobian_loss, velocity_kl
from autofuse_jax.losses.autofuse import autofuse_objective
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.outputs import RegistrationOutput
from tests.quick import quick_jit

SHAPE = (4, 5, 6)
CLASSES = 3
WEIGHTS = ObjectiveWeights(ncc_window=3, kl=0.02, jacobian=0.3, segmentation=0.7, fusion=1.3)
LABEL_TERMS = (
    'segmentation_moving',
    'segmentation_fixed',
    'fusion_warped_segmentation',
    'fusion_fixed_segmentation',
    'fusion_warped_labels',
)
TERMS = ('negative_ncc', 'jacobian', 'kl', *LABEL_TERMS)
# Which samples have labels: both images, the fixed one, the moving one, none.
FLAGS = {'both': (1.0, 1.0), 'fixed': (1.0, 0.0), 'moving': (0.0, 1.0), 'none': (0.0, 0.0)}


def make_batch(*flags):
    rng = np.random.default_rng(0)
    size = len(flags)
    fixed_flags, moving_flags = zip(*(FLAGS[name] for name in flags), strict=True)
    return {
        'fixed': jnp.asarray(rng.random((size, *SHAPE, 1)), jnp.float32),
        'moving': jnp.asarray(rng.random((size, *SHAPE, 1)), jnp.float32),
        'fixed_labels': jnp.asarray(rng.integers(0, CLASSES, (size, *SHAPE)), jnp.uint8),
        'moving_labels': jnp.asarray(rng.integers(0, CLASSES, (size, *SHAPE)), jnp.uint8),
        'fixed_has_labels': jnp.asarray(fixed_flags, jnp.float32),
        'moving_has_labels': jnp.asarray(moving_flags, jnp.float32),
    }


def make_variables(size, seed=1):
    """What a network would predict; everything else in its output follows from these."""
    rng = np.random.default_rng(seed)
    half = (2, 3, 3)
    return {
        'displacement': jnp.asarray(0.7 * rng.normal(size=(size, *SHAPE, 3)), jnp.float32),
        'velocity_mean': jnp.asarray(rng.normal(size=(size, *half, 3)), jnp.float32),
        'log_variance': jnp.asarray(rng.normal(size=(size, *half, 3)), jnp.float32),
        'fixed_segmentation': jax.nn.softmax(jnp.asarray(rng.normal(size=(size, *SHAPE, CLASSES)), jnp.float32)),
        'moving_segmentation': jax.nn.softmax(jnp.asarray(rng.normal(size=(size, *SHAPE, CLASSES)), jnp.float32)),
    }


def evaluate(variables, batch, weights=WEIGHTS):
    warped = jax.vmap(warp_linear)(batch['moving'], variables['displacement'])
    return autofuse_objective(RegistrationOutput(warped=warped, **variables), batch, weights)


objective = quick_jit(evaluate, static_argnames='weights')


@functools.partial(quick_jit, static_argnames=('weights', 'names'))
def gradients(variables, batch, weights=WEIGHTS, names=TERMS):
    """The gradient of each weighted term to each variable: {variable: (terms, ...)}."""

    def terms(variables):
        _, diagnostics = evaluate(variables, batch, weights)
        return jnp.stack([diagnostics[f'weighted/{name}'] for name in names])

    return jax.jacrev(terms)(variables)


def trained_by(found):
    """For each term the variables to which its gradient is not zero everywhere."""
    return [{name for name, gradient in found.items() if np.any(gradient[number] != 0)} for number in range(len(TERMS))]


def test_weighted_terms_sum_to_the_loss():
    loss, diagnostics = objective(make_variables(2), make_batch('both', 'fixed'))
    weighted = {name: value for name, value in diagnostics.items() if name.startswith('weighted/')}
    assert set(weighted) == {f'weighted/{name}' for name in TERMS}
    assert set(diagnostics) - set(weighted) == {f'term/{name}' for name in TERMS}
    np.testing.assert_allclose(sum(weighted.values()), loss, rtol=1e-6)


def test_terms_are_those_of_the_formula():
    """Every term of one fully labelled sample, each from its own function."""
    variables, batch = make_variables(1), make_batch('both')
    _, found = objective(variables, batch)

    @quick_jit
    def formula(u, mean, log_variance, s_f, s_m):
        l_f, l_m = (jax.nn.one_hot(batch[name][0], CLASSES) for name in ('fixed_labels', 'moving_labels'))
        warped_labels = warp_labels(batch['moving_labels'][0], u, num_classes=CLASSES)
        return {
            'negative_ncc': -local_ncc(batch['fixed'][0], warp_linear(batch['moving'][0], u), window=3),
            'jacobian': negative_jacobian_loss(u),
            'kl': velocity_kl(mean, log_variance),
            'segmentation_moving': focal_dice_loss(l_m, s_m),
            'segmentation_fixed': focal_dice_loss(l_f, s_f),
            'fusion_warped_segmentation': focal_dice_loss(l_f, warp_linear(s_m, u)),
            'fusion_fixed_segmentation': focal_dice_loss(warped_labels, s_f),
            'fusion_warped_labels': focal_dice_loss(l_f, warped_labels),
        }

    weight_of = {'negative_ncc': 1.0, 'jacobian': 0.3, 'kl': 0.02}
    for name, value in formula(*(array[0] for array in variables.values())).items():
        weight = weight_of.get(name, 0.7 if name.startswith('segmentation') else 1.3)
        np.testing.assert_allclose(found[f'term/{name}'], value, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(found[f'weighted/{name}'], weight * value, rtol=1e-5, err_msg=name)
    # With this field there is something to unfold, or the test of that term would be empty.
    assert found['term/jacobian'] > 0.1


# Rows: which images have labels. True: the term is active.
ACTIVE = {
    'both': (True, True, True, True, True),
    'fixed': (False, True, True, False, False),
    'moving': (True, False, False, True, False),
    'none': (False, False, False, False, False),
}


@pytest.mark.parametrize('flags', FLAGS)
def test_which_terms_are_active(flags):
    _, diagnostics = objective(make_variables(1), make_batch(flags))
    active = tuple(bool(diagnostics[f'term/{name}'] != 0) for name in LABEL_TERMS)
    assert active == ACTIVE[flags]
    for name in ('negative_ncc', 'jacobian', 'kl'):
        assert diagnostics[f'term/{name}'] != 0


def test_which_term_trains_what():
    found = gradients(make_variables(1), make_batch('both'))
    assert dict(zip(TERMS, trained_by(found), strict=True)) == {
        'negative_ncc': {'displacement'},
        'jacobian': {'displacement'},
        'kl': {'velocity_mean', 'log_variance'},
        'segmentation_moving': {'moving_segmentation'},
        'segmentation_fixed': {'fixed_segmentation'},
        'fusion_warped_segmentation': {'displacement', 'moving_segmentation'},
        'fusion_fixed_segmentation': {'displacement', 'fixed_segmentation'},
        # The official code's warped labels are constants; here they train the displacement.
        'fusion_warped_labels': {'displacement'},
    }
    for gradient in found.values():
        assert np.isfinite(gradient).all()


# What each option trains with the term between warped moving labels and the fixed segmentation.
CONSISTENCY = {
    'both': {'displacement', 'fixed_segmentation'},
    'seg_only': {'fixed_segmentation'},
    'flow_only': {'displacement'},
}


@pytest.mark.parametrize('option', ['seg_only', 'flow_only'])
def test_what_the_consistency_term_trains(option):
    weights = dataclasses.replace(WEIGHTS, consistency_grad=option)
    found = gradients(make_variables(1), make_batch('both'), weights, ('fusion_fixed_segmentation',))
    assert {name for name, gradient in found.items() if np.any(gradient != 0)} == CONSISTENCY[option]
    # What is left is the same as with 'both'.
    both = gradients(make_variables(1), make_batch('both'))
    for name in CONSISTENCY[option]:
        wanted = both[name][TERMS.index('fusion_fixed_segmentation')]
        np.testing.assert_allclose(found[name][0], wanted, rtol=1e-4, atol=1e-7)


def test_focal_part_of_the_consistency_term_does_not_train_the_displacement():
    # Where the segmentation has no overlap with any class, Dice has no gradient, and nothing must be left.
    variables = make_variables(1)
    variables['fixed_segmentation'] = jnp.zeros_like(variables['fixed_segmentation']).at[..., 0].set(1.0)
    found = gradients(variables, make_batch('both'))['displacement'][TERMS.index('fusion_fixed_segmentation')]
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize('flags', ['fixed', 'moving', 'none'])
def test_label_arrays_without_a_flag_do_not_matter(flags):
    variables, batch = make_variables(1), make_batch(flags)
    garbage = dict(batch)
    rng = np.random.default_rng(9)
    for role, flag in zip(('fixed', 'moving'), FLAGS[flags], strict=True):
        if not flag:
            # Ids that are no class are as good as any others.
            garbage[f'{role}_labels'] = jnp.asarray(rng.integers(0, 256, (1, *SHAPE)), jnp.uint8)
    for one, other in (
        (objective(variables, batch), objective(variables, garbage)),
        (gradients(variables, batch), gradients(variables, garbage)),
    ):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_flags_are_per_sample():
    """A mixed batch is the mean of its samples, and the reported terms are means over those that have them."""
    names = ('both', 'moving')
    variables, batch = make_variables(2), make_batch(*names)
    loss, diagnostics = objective(variables, batch)
    singles = []
    for number in range(2):
        sample = jax.tree.map(lambda array, number=number: array[number : number + 1], (variables, batch))
        singles.append(objective(*sample))
    np.testing.assert_allclose(loss, np.mean([single[0] for single in singles]), rtol=1e-6)
    for term in TERMS:
        values = [single[1][f'term/{term}'] for single in singles]
        active = [term not in LABEL_TERMS or ACTIVE[name][LABEL_TERMS.index(term)] for name in names]
        expected = np.mean([value for value, has_term in zip(values, active, strict=True) if has_term])
        np.testing.assert_allclose(diagnostics[f'term/{term}'], expected, rtol=1e-5, err_msg=term)


# Terms that have an inverse: all but the velocity's divergence and the terms of each image's own segmentation.
TERMS_OF_MAP = tuple(name for name in TERMS if name not in ('kl', 'segmentation_moving', 'segmentation_fixed'))


def with_inverse(variables):
    rng = np.random.default_rng(5)
    inverse = jnp.asarray(0.7 * rng.normal(size=variables['displacement'].shape), jnp.float32)
    return variables | {'inverse_displacement': inverse}


def exchanged(variables, batch):
    """The registration of fixed to moving with the inverse map, as a problem of its own."""
    roles = {'fixed': 'moving', 'moving': 'fixed', 'displacement': 'inverse_displacement'}
    roles |= {new: old for old, new in roles.items()}

    def rename(name):
        role, _, rest = name.partition('_')
        return roles.get(name) or (f'{roles[role]}_{rest}' if role in ('fixed', 'moving') else name)

    return tuple({rename(name): array for name, array in named.items()} for named in (variables, batch))


@pytest.mark.parametrize('flags', FLAGS)
def test_inverse_averages_both_directions(flags):
    variables, batch = with_inverse(make_variables(1)), make_batch(flags)
    weights = dataclasses.replace(WEIGHTS, inverse=0.25)
    loss, found = objective(variables, batch, weights)
    _, forward = objective(variables, batch)
    _, backward = objective(*exchanged(variables, batch))
    for name in TERMS:
        wanted = forward[f'weighted/{name}']
        if name in TERMS_OF_MAP:
            wanted = (wanted + 0.25 * backward[f'weighted/{name}']) / 1.25
        np.testing.assert_allclose(found[f'weighted/{name}'], wanted, rtol=1e-5, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(sum(found[f'weighted/{name}'] for name in TERMS), loss, rtol=1e-5)


def test_reported_term_of_one_direction_is_not_diluted():
    # Only the fixed image has labels: forward they are the warped segmentation's target, backward there is none.
    variables, batch = with_inverse(make_variables(1)), make_batch('fixed')
    _, found = objective(variables, batch, dataclasses.replace(WEIGHTS, inverse=0.25))
    _, forward = objective(variables, batch)
    name = 'term/fusion_warped_segmentation'
    assert forward[name] != 0
    np.testing.assert_allclose(found[name], forward[name], rtol=1e-5)


def test_inverse_trains_the_inverse_map():
    weights = dataclasses.replace(WEIGHTS, inverse=0.25)
    names = ('negative_ncc', 'fusion_warped_labels')
    found = gradients(with_inverse(make_variables(1)), make_batch('both'), weights, names)
    for number in range(len(names)):
        assert np.any(found['displacement'][number] != 0) and np.any(found['inverse_displacement'][number] != 0)


def test_a_teacher_is_taught_in_one_direction_beside_the_inverse_map():
    variables = with_inverse(make_variables(1))
    velocity = variables['velocity_mean'] + 0.5
    batch = make_batch('both') | {'teacher_velocity': velocity}
    weights = dataclasses.replace(WEIGHTS, inverse=0.25)
    without, _ = objective(variables, batch, weights)
    loss, terms = objective(variables, batch, dataclasses.replace(weights, teacher=2.0))
    np.testing.assert_allclose(terms['term/teacher'], 0.25, rtol=1e-5)
    np.testing.assert_allclose(loss - without, 0.5, rtol=1e-4)


def test_without_inverse_map_or_weight_there_is_one_direction():
    variables, batch = make_variables(1), make_batch('both')
    wanted = objective(variables, batch)
    for found in (
        objective(variables, batch, dataclasses.replace(WEIGHTS, inverse=0.25)),
        objective(with_inverse(variables), batch),
    ):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found, wanted)


def test_unsupervised_output_has_no_label_terms():
    batch = {name: array for name, array in make_batch('none').items() if 'labels' not in name}
    variables = make_variables(1)
    output = RegistrationOutput(
        displacement=variables['displacement'],
        warped=batch['moving'],
        velocity_mean=variables['velocity_mean'],
        log_variance=variables['log_variance'],
    )
    unsupervised = quick_jit(functools.partial(autofuse_objective, weights=WEIGHTS))
    loss, diagnostics = unsupervised(output, batch)
    assert set(diagnostics) == {f'{kind}/{name}' for kind in ('term', 'weighted') for name in TERMS[:3]}
    np.testing.assert_allclose(sum(diagnostics[f'weighted/{name}'] for name in TERMS[:3]), loss, rtol=1e-6)
    # A plain displacement has no distribution and no divergence.
    without = jax.eval_shape(unsupervised, dataclasses.replace(output, log_variance=None), batch)[1]
    assert set(without) == {name for name in diagnostics if not name.endswith('/kl')}


# What the official code does, see autofuse_jax.training.official_switches.
OFFICIAL = dataclasses.replace(
    WEIGHTS,
    jacobian_determinant='official',
    consistency_grad='seg_only',
    label_warp='nearest',
    missing_labels='zeros',
    ignore_absent=False,
)


def test_which_term_trains_what_in_the_official_code():
    found = gradients(make_variables(1), make_batch('both'), OFFICIAL)
    trained = dict(zip(TERMS, trained_by(found), strict=True))
    assert trained['fusion_warped_labels'] == set()
    assert trained['fusion_fixed_segmentation'] == {'fixed_segmentation'}
    assert trained['fusion_warped_segmentation'] == {'displacement', 'moving_segmentation'}
    assert trained['jacobian'] == {'displacement'}


@pytest.mark.parametrize('flags', FLAGS)
def test_which_terms_are_active_in_the_official_code(flags):
    _, diagnostics = objective(make_variables(1), make_batch(flags), OFFICIAL)
    assert tuple(bool(diagnostics[f'term/{name}'] != 0) for name in LABEL_TERMS) == ACTIVE[flags]


def test_a_labelled_volume_without_foreground_counts_as_unlabelled_in_the_official_code():
    batch = make_batch('both')
    batch['fixed_labels'] = jnp.zeros_like(batch['fixed_labels'])
    for weights, active in ((OFFICIAL, ACTIVE['moving']), (WEIGHTS, ACTIVE['both'])):
        # Without foreground the Dice part is 0, the focal part is not.
        _, diagnostics = objective(make_variables(1), batch, weights)
        assert tuple(bool(diagnostics[f'term/{name}'] != 0) for name in LABEL_TERMS) == active


@pytest.mark.slow
def test_a_batch_with_one_labelled_sample_is_labelled_in_the_official_code():
    """Its unlabelled sample is pulled towards background, which is why labels are flagged here."""
    batch, variables = make_batch('both', 'none'), make_variables(2)
    for weights, pulled in ((OFFICIAL, True), (WEIGHTS, False)):
        gradient = gradients(variables, batch, weights)['fixed_segmentation'][TERMS.index('segmentation_fixed')]
        assert bool(np.any(gradient[1] != 0)) == pulled


def test_the_official_determinant_is_an_option_of_the_jacobian_term():
    variables, batch = make_variables(1), make_batch('none')
    weights = dataclasses.replace(WEIGHTS, jacobian_determinant='official')
    _, diagnostics = objective(variables, batch, weights)
    wanted = negative_jacobian_loss(variables['displacement'][0], determinant='official')
    np.testing.assert_allclose(diagnostics['term/jacobian'], wanted, rtol=1e-5)
    assert wanted != pytest.approx(float(negative_jacobian_loss(variables['displacement'][0])), rel=1e-3)


def test_smoothness_of_the_predicted_field():
    """As AutoFuse-disp is trained: no log-variance, and the field at half resolution is a displacement."""
    variables, batch = make_variables(1), make_batch('both')
    variables['log_variance'] = None
    # u_0 = 2 x_0 and nothing else: one of three components changes by 2 along one of three axes, (2^2 / 3) / 3 = 4 / 9.
    field = np.zeros((1, 2, 3, 3, 3), np.float32)
    field[..., 0] = 2 * np.arange(2).reshape(2, 1, 1)
    variables['velocity_mean'] = jnp.asarray(field)
    without, without_terms = objective(variables, batch)
    smooth = dataclasses.replace(WEIGHTS, smoothness=0.5)
    loss, found = objective(variables, batch, smooth)
    np.testing.assert_allclose(found['term/smoothness'], 4 / 9, rtol=1e-6)
    np.testing.assert_allclose(found['weighted/smoothness'], 0.5 * 4 / 9, rtol=1e-6)
    np.testing.assert_allclose(loss, without + 0.5 * 4 / 9, rtol=1e-6)
    assert set(found) - set(without_terms) == {'term/smoothness', 'weighted/smoothness'}
    assert 'term/kl' not in found
    trained = gradients(variables, batch, smooth, ('smoothness',))
    assert [name for name, gradient in trained.items() if gradient is not None and np.any(gradient)] == [
        'velocity_mean'
    ]


def test_smoothness_of_weight_zero_leaves_the_loss_alone():
    variables, batch = make_variables(1), make_batch('both')
    loss, found = objective(variables, batch, dataclasses.replace(WEIGHTS, smoothness=0.0))
    rough = variables | {'velocity_mean': variables['velocity_mean'] * 3}
    wanted, _ = objective(variables, batch)
    assert loss == wanted and 'term/smoothness' not in found
    # What else depends on that field is the divergence alone.
    other, others = objective(rough, batch)
    np.testing.assert_allclose(other - loss, others['weighted/kl'] - found['weighted/kl'], rtol=1e-4, atol=1e-6)
