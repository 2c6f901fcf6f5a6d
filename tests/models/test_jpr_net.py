"""JPR-Net: its names, how features run through it, integration; what it shares is in test_joint_networks.py."""

import numpy as np
import pytest

from autofuse_jax.fields import integrate_velocity, invert_velocity
from autofuse_jax.models.jpr_net import JPRNet
from tests.models.joint_networks import JPR_NET
from tests.models.shapes import count, shapes_of
from tests.quick import quick_jit


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    shapes = shapes_of(JPRNet())
    decoder = {'output', *(f'{kind}_{number}' for kind in ('up', 'block') for number in range(1, 5))}
    assert set(shapes['encoder']) == {f'block_{number}' for number in range(1, 6)}
    assert set(shapes['parcellation']) == set(shapes['registration']) == decoder
    assert set(shapes['encoder']['block_1']) == {'conv_1', 'norm_1', 'conv_2', 'norm_2'}


@pytest.mark.parametrize(('classes', 'parameters'), [(4, 8_610_023), (20, 8_610_295)])
def test_number_of_parameters_of_a_wider_network(classes, parameters):
    assert count(shapes_of(JPRNet(classes, base_channels=16))) == parameters


def test_what_each_level_of_the_decoders_joins():
    shapes = shapes_of(JPRNet())
    for name, skips in (('parcellation', 1), ('registration', 2)):
        coarsest = 128 * skips
        assert shapes[name]['up_1']['kernel'].shape == (2, 2, 2, coarsest, 64)
        for number, width in enumerate((64, 32, 16, 8), 1):
            kernel = shapes[name][f'block_{number}']['conv_1']['kernel']
            assert kernel.shape[3:] == (width * (1 + skips), width)
    assert shapes['registration']['output']['kernel'].shape == (1, 1, 1, 8, 3)
    assert shapes['parcellation']['output']['kernel'].shape == (1, 1, 1, 8, 4)


def test_parcellations_are_probabilities_and_the_map_is_no_integral():
    output = JPR_NET.apply(JPR_NET.params, *JPR_NET.pair())
    np.testing.assert_allclose(output.fixed_segmentation.sum(axis=-1), 1, rtol=1e-5)
    assert output.velocity_mean is None and output.inverse_displacement is None


def test_integrated():
    fixed, moving = JPR_NET.pair()
    model, params = JPR_NET.small.clone(integrate=True), JPR_NET.params
    output = quick_jit(lambda params: model.apply({'params': params}, fixed, moving))(params)
    # What is a displacement without integration is the velocity with it.
    np.testing.assert_allclose(output.velocity_mean, JPR_NET.apply(params, fixed, moving).displacement, atol=1e-4)
    velocity = output.velocity_mean[0]
    np.testing.assert_allclose(output.displacement[0], integrate_velocity(velocity), atol=1e-4)
    np.testing.assert_allclose(output.inverse_displacement[0], invert_velocity(velocity), atol=1e-4)
