"""Commands that meet in one folder: the second says who is there and changes nothing."""

import os

import pytest

from autofuse_jax.evaluate import main as evaluate
from autofuse_jax.prepare import main as prepare
from autofuse_jax.register import main as register
from autofuse_jax.storage.locks import InUseError, locked
from autofuse_jax.training.loop import train_and_evaluate
from tests.light import light_config
from tests.preparation.acdc_trees import make_flat


def refused(capsys, status, folder):
    error = capsys.readouterr().err
    assert status == 2 and f'{folder} is in use by' in error and f'process {os.getpid()}' in error
    assert 'Traceback' not in error
    return True


def test_a_second_training_in_a_folder_ends_at_once(tmp_path):
    with locked(tmp_path / 'run'):
        with pytest.raises(InUseError, match='run is in use by'):
            train_and_evaluate(light_config(tmp_path / 'phantom'), tmp_path / 'run')
        assert [path.name for path in (tmp_path / 'run').iterdir()] == ['.lock']
    assert not (tmp_path / 'phantom').exists()


def test_a_second_preparation_removes_nothing(tmp_path, capsys):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    with locked(out):
        (out / 'patient001').mkdir()
        writing = out / 'patient001' / '.writing-frame'
        writing.write_bytes(b'half')
        assert refused(capsys, prepare([f'--source={source}', f'--out={out}', '--dataset=acdc']), out)
        assert writing.exists()


def test_a_second_registration_or_evaluation_does_not_replace_the_first(tmp_path, capsys):
    out = tmp_path / 'out'
    with locked(out, beside=True):
        files = [f'--{role}={tmp_path / role}.nii' for role in ('fixed', 'moving')]
        assert refused(capsys, register([*files, f'--out={out}']), out)
        assert refused(capsys, evaluate([str(tmp_path), f'--out={out}']), out)
    assert list(tmp_path.iterdir()) == []
