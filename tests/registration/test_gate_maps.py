"""Maps of fusion gates lie where the gates are; the network is a function that is known."""

import json

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.commands.register_pair import gates_of
from autofuse_jax.data.volumes import write_image
from autofuse_jax.errors import UserError
from autofuse_jax.register import main as register
from autofuse_jax.registration.gate_maps import gate_maps, gate_numbers, write_gate_maps
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.transforms.grids import ImageGrid, grid_points, resize_grid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.weights.pretrained import RegistrationModel, load_model
from autofuse_jax.weights.released import Description, write_released
from tests.porting.small import OPTIONS, params_of
from tests.registration.scenes import centred_grid, picture
from tests.registration.test_network import NOTHING, Network

IDENTITY = AffineTransform(np.eye(4))


class GatedNetwork(Network):
    """Its gates are the fixed image, averaged over the voxels of a gate, in two channels."""

    def gate_weights(self, fixed, moving):
        self.shown = fixed, moving
        padded = np.pad(fixed, [(0, -size % 16) for size in fixed.shape])

        def pooled(step):
            blocks = padded.reshape(*(part for size in padded.shape for part in (size // step, step)))
            mean = blocks.mean((1, 3, 5)) / fixed.max()
            return np.stack([mean, 1 - mean], -1) * [1, 0.5]

        return {'gate_3': pooled(4), 'gate_2': pooled(2)}


def test_maps_lie_over_the_image_on_the_grids_of_their_levels():
    # Another order and direction of the axes than the network sees.
    fixed = picture(centred_grid((44, 30, 40), (3.0, 3.0, 3.0), axes='LPS'))
    maps = gate_maps(GatedNetwork(), fixed, fixed, IDENTITY)
    assert [one.name for one in maps] == ['gate_2', 'gate_3']
    assert maps[0].weights.shape == (24, 16, 24, 2) and maps[1].weights.shape == (12, 8, 12, 2)
    for one, step in zip(maps, (2, 4), strict=True):
        np.testing.assert_allclose(one.grid.spacing, 3.0 * step)
        # The first channel is the image there, where the padding begins nowhere near.
        inner = (slice(1, 44 // step - 1), slice(1, 30 // step - 1), slice(1, 40 // step - 1))
        wanted = np.stack([_mean_around(fixed, point, step) for point in grid_points(one.grid)[inner].reshape(-1, 3)])
        found = one.weights[..., 0][inner].ravel()
        assert np.corrcoef(found, wanted)[0, 1] > 0.98
    numbers = gate_numbers(maps[0])
    assert numbers['mean'] == pytest.approx(maps[0].weights.mean()) and 0 < numbers['deviation_over_voxels'] < 1
    assert numbers['percentiles']['5'] < numbers['percentiles']['50'] < numbers['percentiles']['95']


def _mean_around(volume, point, step):
    """Mean of the image over a voxel of a gate, by its centre in the world."""
    centre = np.linalg.inv(volume.affine) @ [*point, 1.0]
    first = np.rint(centre[:3] - (step - 1) / 2).astype(int)
    return volume.image[tuple(slice(max(0, one), one + step) for one in first)].mean()


def test_files_hold_what_was_computed(tmp_path):
    fixed = picture(centred_grid((32, 32, 32), (3.0, 3.0, 3.0)))
    maps = gate_maps(GatedNetwork(), fixed, fixed, IDENTITY)
    record = write_gate_maps(tmp_path, maps)
    for one in maps:
        image = nib.load(tmp_path / record[one.name]['file'])
        np.testing.assert_allclose(image.get_fdata(), one.image, atol=1e-6)
        np.testing.assert_allclose(image.affine, one.grid.affine, atol=1e-5)
        assert record[one.name]['mean'] == pytest.approx(one.weights.mean(), abs=1e-6)


def test_the_gates_are_those_of_the_aligned_pair():
    fixed = picture(centred_grid((32, 32, 32), (3.0, 3.0, 3.0)))
    network = GatedNetwork()
    result = register_volumes(fixed, fixed, NOTHING, model=network)
    shown = network.shown
    gates_of(network, result)
    for before, after in zip(shown, network.shown, strict=True):
        np.testing.assert_allclose(before, after, atol=1e-5)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    volume = picture(centred_grid((16, 16, 16), (3.0, 3.0, 3.0)))
    for name in ('fixed', 'moving'):
        write_image(folder / f'{name}.nii.gz', volume.image, volume.affine)
    for name in ('autofuse_unsup', 'voxelmorph'):
        method, options = (
            ('autofuse', OPTIONS[name]) if name in OPTIONS and 'autofuse' in name else (name, {'base_channels': 2})
        )
        write_released(folder / f'{name}.npz', params_of(method, options), Description(method, options))
    return folder


def command(images, out, *more):
    return [f'--fixed={images}/fixed.nii.gz', f'--moving={images}/moving.nii.gz', f'--out={out}', '--gate-maps', *more]


def test_the_command_writes_them(images, tmp_path, monkeypatch):
    grid = ImageGrid((16, 16, 16), centred_grid((16, 16, 16), (3.0, 3.0, 3.0)).affine)
    # What the network says of the pair was tried before; compiling it once is enough.
    monkeypatch.setattr(
        RegistrationModel, 'register', lambda self, fixed, moving, seed=0: Network().register(fixed, moving)
    )
    settings = ['--align=none', '--no-deform', '--no-page', f'--weights={images}/autofuse_unsup.npz']
    assert register(command(images, tmp_path / 'out', *settings)) == 0
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert list(report['gates']) == [f'gate_{number}' for number in range(2, 9)]
    for gate in report['gates'].values():
        image = nib.load(tmp_path / 'out' / gate['file'])
        assert image.shape == tuple(gate['shape'][:3]) and gate['file'] in report['files']
        np.testing.assert_allclose(image.affine, resize_grid(grid, image.shape).affine, atol=1e-5)
        assert 0 < image.get_fdata().min() and image.get_fdata().max() < 1


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ([], '--gate-maps is given without a network'),
        (['--weights={images}/voxelmorph.npz'], 'the weights of voxelmorph have no fusion gates'),
        (['--weights={images}/autofuse_unsup.npz', '--reference-frame=0'], '--gate-maps together with'),
    ],
)
def test_what_has_no_gates_is_refused_in_one_line(images, tmp_path, capsys, more, words):
    assert register(command(images, tmp_path / 'out', *(part.format(images=images) for part in more))) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[-1] and not (tmp_path / 'out').exists()


def test_a_network_without_gates_says_so(images):
    with pytest.raises(UserError, match='no fusion gates'):
        load_model(images / 'voxelmorph.npz').gate_weights(np.zeros((16, 16, 16)), np.zeros((16, 16, 16)))
