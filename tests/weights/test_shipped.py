"""Weights by name: those that are there, those that are not, and files that a user names."""

from pathlib import Path

import numpy as np
import pytest

from autofuse_jax.configs import quickstart
from autofuse_jax.data.open_dataset import open_dataset
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.errors import UserError
from autofuse_jax.fields.warp import warp_nearest
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.weights.pretrained import RegistrationModel, load_model
from autofuse_jax.weights.released import file_hash, read_released
from autofuse_jax.weights.shipped import FOLDERS, known_weights, weights_file

LARGEST_BYTES = 10_000_000


@pytest.fixture
def folders(tmp_path):
    for place, name in (('installed', 'one'), ('clone', 'one'), ('clone', 'two')):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / f'{name}.npz').write_bytes(b'')
    return tmp_path / 'installed', tmp_path / 'clone', tmp_path / 'absent'


def test_names_are_those_of_the_files(folders):
    assert known_weights(folders) == ('one', 'two')


def test_a_name_is_found_where_it_is_first(folders):
    assert weights_file('one', folders) == folders[0] / 'one.npz'
    assert weights_file('two', folders) == folders[1] / 'two.npz'


@pytest.mark.parametrize('named', ['params.npz', 'runs/params', Path('one.npz')])
def test_a_path_stays_as_it_is(folders, named):
    assert weights_file(named, folders) == Path(named)


def test_a_file_or_folder_comes_before_a_name(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'one').mkdir()
    assert weights_file('one', folders) == Path('one')


def test_an_unknown_name_lists_the_known(folders):
    with pytest.raises(UserError, match="no weights 'three'.*one, two"):
        weights_file('three', folders)
    with pytest.raises(UserError, match='Expected: the path of an npz'):
        weights_file('three', folders[2:])


@pytest.mark.parametrize('name', known_weights())
def test_what_is_shipped_can_be_used_and_says_what_it_is(name):
    path = weights_file(name)
    params, description = read_released(path)
    model = RegistrationModel(params, description)
    assert path.stat().st_size < LARGEST_BYTES and model.description.spacing_mm is not None
    card = path.with_suffix('.md').read_text(encoding='utf-8')
    for wanted in (file_hash(path), f'{model.num_parameters:,}', 'Licence', 'Scores', 'cannot', 'Command'):
        assert wanted in card, wanted
    assert path.parent in FOLDERS


@pytest.mark.slow
def test_the_phantom_weights_register_a_phantom_that_they_have_not_seen(tmp_path):
    config = quickstart.get_config().data.phantom.to_dict()
    manifest = open_dataset('phantom', tmp_path, config)
    subject = next(subject for subject in manifest.subjects if subject.split == 'test')
    fixed, moving = (load_frame(manifest, frame) for frame in subject.frames if frame.has_labels)
    result = load_model('phantom').register(fixed.image, moving.image)
    before = mean_over_structures(dice_per_label(fixed.labels, moving.labels, (1, 2, 3)))
    moved = np.asarray(warp_nearest(moving.labels[..., None], result.displacement))[..., 0]
    assert mean_over_structures(dice_per_label(fixed.labels, moved, (1, 2, 3))) > max(0.8, before + 0.05)
