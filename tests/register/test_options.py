"""Options that are wrong, do nothing or do not go together are refused before any work."""

import re
import sys

import pytest

from autofuse_jax.register import main
from autofuse_jax.registration.instance_settings import InstanceSettings
from tests.register.calls import command


def test_help_names_the_defaults_of_the_settings(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    text = ' '.join(capsys.readouterr().out.split())
    fields = {'guide_weight': 'guide', 'guide_points_weight': 'points', 'inverse_weight': 'inverse'}
    for option in (*fields, 'shrink', 'steps', 'smoothness', 'trust', 'jacobian', 'ncc_window', 'learning_rate'):
        value = getattr(InstanceSettings(), fields.get(option, option))
        words = ','.join(map(str, value)) if isinstance(value, tuple) else f'{value:g}'
        # Behind the option's own text, before the next one's.
        flag = re.escape('--' + option.replace('_', '-'))
        assert re.search(rf'{flag} [XN][^ ]* (?:(?! --).)*?default {re.escape(words)}(?:[ ;]|$)', text), option


def test_composites_are_checked_before_any_work(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    assert main(command(files, tmp_path / 'out', '--composite')) == 2
    error = capsys.readouterr().err
    assert "pip install 'autofuse_jax[hdf5]'" in error and not (tmp_path / 'out').exists()
    assert main(command(files, tmp_path / 'out', '--composite', '--reference-frame=0')) == 2
    assert '--composite together with --reference-frame' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--fixed-labels={files}/moving_labels.nii.gz'], 'another grid'),
        (['--moving-mask={files}/fixed_labels.nii.gz'], 'another grid'),
        (['--moving-labels={files}/moving.nii.gz'], 'not whole numbers'),
        (['--classes={files}/fixed.nii.gz'], 'label names'),
        (['--steps=10'], '2 levels and 1 numbers'),
        (['--ncc-window=4'], 'odd'),
        (['--smoothness=-1'], 'smoothness'),
        (['--spacing=0'], 'spacing'),
        (['--weights={files}/fixed.nii.gz'], 'npz'),
        (['--moving-images', '{files}/t2.nii.gz', '{files}/t2.nii.gz'], 'twice'),
        (['--reference-frame=0'], 'does not go with'),
        (['--initial', '{files}/fixed.nii.gz'], 'is no transform but an image'),
        (['--initial', '{files}/absent.h5'], 'there is no file'),
        (['--initial', '{files}/singular.mat'], 'singular'),
        (['--initial', '{files}/far.tfm'], '0 % of the smaller field of view'),
        (['--initial', '{files}/far.tfm', '--start=masses'], '--start=masses together with --initial'),
    ],
)
def test_bad_options_end_with_one_line(files, tmp_path, capsys, more, words):
    arguments = command(files, tmp_path / 'out', *(part.format(files=files) for part in more))
    assert main(arguments) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error:')]
    assert len(error) == 1 and words in error[0], error
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--initial-convention=itk'], '--initial-convention is given without --initial'),
        (['--trust=0.3'], '--trust is given without a network'),
        (['--guide-weight=2'], '--guide-weight is given without label maps or a network'),
        (['--guide-weight=2', '--weights=cardiac', '--guide=none'], '--guide-weight is given without label maps'),
        (['--guide-points-weight=2'], '--guide-points-weight is given without points'),
        (['--align=none', '--no-deform', '--similarity=mi'], '--similarity is given and nothing is aligned'),
        (['--no-deform', '--steps=3'], '--steps is given together with --no-deform'),
        (['--no-deform', '--smoothness=0.5'], '--smoothness is given together with --no-deform'),
        (['--no-deform', '--shrink=2'], '--shrink is given together with --no-deform'),
        (['--no-deform', '--spacing=2'], '--spacing is given together with --no-deform and without --weights'),
        (['--start=rotations', '--align=translation'], 'starts from rotations, and its kind is translation'),
        (['--start=rotations', '--align=none'], 'starts from rotations, and its kind is none'),
        (['--part=1/2'], '--part is given without --pairs'),
    ],
)
def test_options_that_would_do_nothing_are_refused(files, tmp_path, capsys, monkeypatch, more, words):
    monkeypatch.setattr('autofuse_jax.commands.register_pair.register_images', lambda *_, **__: pytest.fail('worked'))
    assert main(command(files, tmp_path / 'out', *more)) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / 'out').exists()


def test_what_cannot_be_written_is_told_before_any_work(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('autofuse_jax.commands.register_pair.register_images', lambda *_, **__: pytest.fail('worked'))
    long_name = tmp_path / f'{"t" * 245}.nii.gz'
    long_name.write_bytes((files / 't2.nii.gz').read_bytes())
    monkeypatch.setitem(sys.modules, 'SimpleITK', None)
    for more, words in (
        (['--out=/proc/x/out'], 'nothing can be made in /proc'),
        (['--moving-images', str(long_name)], '258 bytes'),
        (['--out-format=nrrd'], "pip install 'autofuse_jax[itk]'"),
    ):
        assert main(command(files, tmp_path / 'out', *more)) == 2
        assert words in capsys.readouterr().err.splitlines()[-1]
