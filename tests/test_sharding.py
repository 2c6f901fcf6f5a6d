import jax
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.sharding import batch_sharded, make_mesh, put_batch, replicated, volumes_sharded
from autofuse_jax.training.experiment import _check_parts, _check_shares
from autofuse_jax.training.phases import Phase
from tests.conftest import SIMULATED_DEVICES


def test_zero_means_all_devices():
    assert SIMULATED_DEVICES == len(jax.devices()) == 4
    assert make_mesh().size == make_mesh(0).size == 4
    assert make_mesh().axis_names == ('data', 'depth') and make_mesh().devices.shape == (4, 1)
    assert list(make_mesh(2).devices.flat) == jax.devices()[:2]


def test_devices_that_share_a_volume_are_neighbours():
    assert make_mesh(4, depth=2).devices.tolist() == [jax.devices()[:2], jax.devices()[2:]]


@pytest.mark.parametrize(('devices', 'depth'), [(4, 3), (2, 4), (0, 0)])
def test_impossible_share_of_a_volume(devices, depth):
    with pytest.raises(UserError, match=f'training.depth_devices is {depth} with .* devices.*Expected: a divisor'):
        make_mesh(devices, depth)


@pytest.mark.parametrize('devices', [-1, SIMULATED_DEVICES + 1])
def test_impossible_number_of_devices(devices):
    with pytest.raises(UserError, match=f'training.devices is {devices}') as raised:
        make_mesh(devices)
    assert '0 (all) to 4, the number of cpu devices here' in str(raised.value)


@pytest.mark.parametrize(('batch', 'devices'), [(4, 4), (8, 4), (2, 2), (3, 1)])
def test_batch_is_spread_over_the_devices_in_order(batch, devices):
    host = {'image': np.arange(2.0 * batch, dtype=np.float32).reshape(batch, 2), 'flag': np.arange(batch) % 2}
    mesh = make_mesh(devices)
    arrays = put_batch(host, mesh)
    assert set(arrays) == set(host)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, host[name])
        assert array.sharding == (volumes_sharded if array.ndim > 1 else batch_sharded)(mesh)
        shards = sorted(array.addressable_shards, key=lambda shard: shard.device.id)
        assert [shard.device for shard in shards] == jax.devices()[:devices]
        rows = batch // devices
        for number, shard in enumerate(shards):
            np.testing.assert_array_equal(shard.data, host[name][number * rows : (number + 1) * rows])


def test_volumes_are_spread_along_depth():
    volume = np.arange(2 * 4 * 3.0).reshape(2, 4, 3)
    array = put_batch({'image': volume}, make_mesh(4, depth=2))['image']
    np.testing.assert_array_equal(array, volume)
    found = {shard.device.id: shard.data for shard in array.addressable_shards}
    for number, device in enumerate(jax.devices()[:4]):
        pair, half = divmod(number, 2)
        np.testing.assert_array_equal(found[device.id], volume[pair : pair + 1, 2 * half : 2 * half + 2])


def test_batch_that_cannot_be_spread():
    with pytest.raises(ValueError, match='divi'):
        put_batch({'image': np.zeros((3, 2))}, make_mesh(2))


def test_replicated_arrays_are_whole_on_each_device():
    array = jax.device_put(np.arange(6.0), replicated(make_mesh()))
    assert len(array.addressable_shards) == 4
    for shard in array.addressable_shards:
        np.testing.assert_array_equal(shard.data, np.arange(6.0))


@pytest.mark.parametrize(
    ('batch', 'depth', 'words'),
    [
        (3, 2, 'training.batch_size is 3 on 4 devices, of which 2 share a volume.*a multiple of 2'),
        (1, 4, 'training.depth_devices is 4 for volumes of 18 voxels along their first axis'),
    ],
)
def test_what_devices_cannot_share_equally_is_refused(batch, depth, words):
    with pytest.raises(UserError, match=words):
        _check_shares(batch, (18, 16, 16), make_mesh(4, depth))


def test_parts_of_volumes_are_shared_equally_or_refused():
    whole, parts = Phase('phase_0', 'semi', 0, 5), Phase('phase_1', 'semi', 5, 9, (18, 16, 16))
    with pytest.raises(UserError, match='depth_devices is 4 for parts of 18 voxels along their first axis in phase_1'):
        _check_parts([whole, parts], make_mesh(4, 4))
    assert _check_parts([whole, parts], make_mesh(4, 2)) is None


def test_what_devices_can_share_is_accepted():
    assert _check_shares(2, (16, 16, 16), make_mesh(4, 2)) is None
