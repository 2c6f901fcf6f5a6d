"""PC-Reg: names, golden numbers of the official code, masks; what it shares is in test_joint_networks.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import warp_linear
from autofuse_jax.models.pc_reg import PCReg
from autofuse_jax.models.pc_reg_unet import PCRegUNet
from autofuse_jax.models.regions import region_images
from autofuse_jax.porting import ARCHITECTURES
from autofuse_jax.porting.convert import TO_OURS, unflatten
from tests.models.joint_networks import PC_REG
from tests.models.shapes import count, image_of, shapes_of
from tests.models.test_autofuse_golden import golden_pair, official_shape, sine_rule
from tests.quick import quick_jit, quick_key

# Share of the moving image in each region of the set.
SHARES = np.array([0.2, 0.5, 1.0])


def test_number_of_parameters_for_8_classes():
    assert count(shapes_of(PCReg(8))) == 11_779_723


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    names = {'output', *(f'encoder_{n}' for n in range(1, 6)), *(f'decoder_{n}' for n in range(1, 5))}
    for network in shapes_of(PCReg()).values():
        assert set(network) == names
        assert set(network['decoder_1']) == {'conv_1', 'norm_1', 'conv_2', 'norm_2'}
        assert network['decoder_1']['conv_1']['kernel'].shape == (3, 3, 3, 384, 128)


def golden_output(prefix, outputs, volume):
    """The output of one network, filled by the rule of the set, in float64."""
    tensors = [tensor for tensor in ARCHITECTURES['pc_reg'].tensors if tensor.official.startswith(prefix)]
    network = PCRegUNet(outputs)
    shapes = jax.eval_shape(lambda: network.init(quick_key(), jnp.zeros(volume.shape, jnp.float32)))['params']
    assert len(tensors) == 74
    params = {}
    for number, tensor in enumerate(tensors):
        path = tensor.ours.split('/')[1:]
        leaf = shapes[path[0]] if len(path) == 2 else shapes[path[0]][path[1]]
        value = sine_rule(number, official_shape(leaf[path[-1]].shape, tensor.layout))
        if path[-1] == 'scale':
            value = 1.0 + 5.0 * value
        axes = TO_OURS.get(tensor.layout)
        params['/'.join(path)] = value if axes is None else value.transpose(axes)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), unflatten(params))
        return np.asarray(quick_jit(network.apply)({'params': params}, jnp.asarray(volume, jnp.float64)))


def test_perception_gives_the_official_logits():
    fixed, _ = golden_pair()
    logits = golden_output('seger.', 4, fixed)
    np.testing.assert_allclose(logits[0, 8, 8, 8], [0.13813789, 0.13237447, 0.10925799, 0.07182820], atol=1e-8)
    np.testing.assert_allclose(np.abs(logits).mean(), 0.15153101, atol=1e-8)


@pytest.mark.slow
def test_correspondence_gives_the_official_map():
    fixed, moving = golden_pair()
    flow = golden_output('reger.', 3, np.concatenate([SHARES * fixed, SHARES * moving], axis=-1))
    np.testing.assert_allclose(flow[0, 8, 8, 8], [0.00996754, 0.03635119, 0.05790897], atol=1e-8)
    np.testing.assert_allclose(np.abs(flow).mean(), 0.06958401, atol=1e-8)
    with jax.enable_x64(True):
        warped = warp_linear(jnp.asarray((SHARES * moving)[0], jnp.float64), jnp.asarray(flow[0], jnp.float64))
        np.testing.assert_allclose(warped.mean(), 0.27705843, atol=1e-8)


def test_regions_of_most_probable_classes():
    image = jnp.full((1, 1, 1, 2, 1), 0.5)
    probabilities = jnp.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]).reshape(1, 1, 1, 2, 3)
    np.testing.assert_allclose(region_images(image, probabilities, 'hard')[0, 0, 0], [[0.5, 0], [0, 0]])
    np.testing.assert_allclose(region_images(image, probabilities, 'soft')[0, 0, 0], [[0.25, 0.15], [0.15, 0.05]])
    with pytest.raises(ValueError, match="masks is 'fuzzy'"):
        region_images(image, probabilities, 'fuzzy')


@pytest.mark.slow
def test_the_networks_are_joined_by_regions():
    (fixed, moving), params = PC_REG.pair(), PC_REG.params
    output = PC_REG.apply(params, fixed, moving)

    def alone(method, *inputs):
        return PC_REG.small.apply({'params': params}, *inputs, method=method)

    predicted = [quick_jit(lambda image: alone('perceive', image))(image) for image in (fixed, moving)]
    np.testing.assert_allclose(output.fixed_segmentation, predicted[0], atol=1e-5)
    np.testing.assert_allclose(output.moving_segmentation, predicted[1], atol=1e-5)
    np.testing.assert_allclose(output.fixed_segmentation.sum(axis=-1), 1, rtol=1e-5)
    regions = [
        region_images(image, classes, 'hard')
        for image, classes in ((fixed, output.fixed_segmentation), (moving, output.moving_segmentation))
    ]
    displacement = quick_jit(lambda *regions: alone('correspond', *regions))(*regions)
    assert np.abs(displacement).max() > 0.1
    np.testing.assert_allclose(output.displacement, displacement, atol=1e-4)
    assert output.velocity_mean is None and output.inverse_displacement is None


def test_soft_test_masks_are_another_map_of_the_same_parameters():
    (fixed, moving), params = PC_REG.pair(), PC_REG.params
    soft = quick_jit(PC_REG.small.clone(test_masks='soft').apply)({'params': params}, fixed, moving)
    hard = PC_REG.apply(params, fixed, moving)
    np.testing.assert_allclose(soft.fixed_segmentation, hard.fixed_segmentation, atol=1e-5)
    assert np.abs(soft.displacement - hard.displacement).max() > 1e-2


def test_the_map_starts_elsewhere_as_the_official_one():
    image, model = image_of(PC_REG.shape), PC_REG.small.clone(legacy_head_init=True)
    head = quick_jit(lambda: model.lazy_init(quick_key(), image, image)['params']['correspondence']['output'])()
    assert np.abs(head['kernel']).max() > 1e-1 and np.all(head['bias'] != 0)
