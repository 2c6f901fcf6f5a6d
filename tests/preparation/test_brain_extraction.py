import stat
import sys

import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_extraction import TOOLS, choose_tool, extract_brain
from tests.preparation.brain_trees import LAS, image

# Stands for a brain extraction program: sets everything outside a box to 0.
CODE = """
import os, sys
import nibabel as nib, numpy as np
arguments = [argument for argument in sys.argv[1:] if argument not in ('-i', '-o', '-R')]
head = nib.load(arguments[0])
values = np.asarray(head.dataobj).copy()
kept = np.zeros(values.shape, bool)
kept[6:18, 7:21, 8:18] = True
nib.save(nib.Nifti1Image(np.where(kept, values, 0), head.affine), arguments[1])
"""


@pytest.fixture
def path_folder(tmp_path, monkeypatch):
    """An empty folder that is all of PATH."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', str(folder))
    return folder


def make_program(folder, name, code=CODE):
    path = folder / name
    path.write_text(f'#!{sys.executable}\n{code}')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def head():
    """Noise everywhere, with values below 0 in it."""
    noise = np.random.default_rng(0).normal(100, 10, image(0).shape).astype(np.float32)
    noise[0, 0, 0] = -50
    return Volume(noise, None, LAS, 's1')


def test_auto_takes_the_first_program_that_is_there(path_folder):
    for name in ('bet', 'hd-bet', 'synthstrip'):
        make_program(path_folder, TOOLS[name].program)
        assert choose_tool('auto') == name == choose_tool(name)
    assert choose_tool('bet') == 'bet'


def test_none_needs_no_program(path_folder):
    assert choose_tool('none') == 'none'


@pytest.mark.parametrize(
    ('wanted', 'words'),
    [('auto', ['mri_synthstrip', 'FreeSurfer', 'hd-bet', 'bet (FSL)']), ('bet', ['bet (FSL)'])],
)
def test_missing_programs_are_named_with_what_to_do(path_folder, wanted, words):
    with pytest.raises(UserError, match='need brain extraction') as raised:
        choose_tool(wanted)
    for word in [*words, '--brain-extraction=none']:
        assert word in str(raised.value)


@pytest.mark.parametrize('tool', TOOLS)
def test_everything_outside_the_brain_becomes_zero(path_folder, tool):
    make_program(path_folder, TOOLS[tool].program)
    found = extract_brain(head(), tool)
    inside = np.zeros(found.image.shape, bool)
    inside[6:18, 7:21, 8:18] = True
    assert (found.image[~inside] == 0).all()
    # Grey values keep their distances; the smallest of the head becomes 0.
    np.testing.assert_allclose(found.image[inside], head().image[inside] + 50, rtol=1e-5)
    assert found.name == 's1' and found.affine is not None


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        ('import sys; print("no licence", file=sys.stderr); sys.exit(3)', ['status 3', 'no licence', 'run it by hand']),
        ('import sys; sys.exit(1)', ['status 1', 'nothing said']),
        ('', ['wrote nothing for s1']),
        (CODE.replace('np.where(kept, values, 0)', 'values[:-1]'), ['changed the grid of s1']),
        (CODE.replace('np.where(kept, values, 0)', 'np.abs(values) + 1'), ['removed nothing from s1']),
        (CODE.replace('np.where(kept, values, 0)', 'values * 0'), ['same value 0 everywhere']),
    ],
    ids=['fails', 'fails silently', 'writes nothing', 'other grid', 'removes nothing', 'removes all'],
)
def test_programs_that_go_wrong(path_folder, code, words):
    make_program(path_folder, 'bet', code)
    with pytest.raises(UserError) as raised:
        extract_brain(head(), 'bet')
    for word in words:
        assert word in str(raised.value)


def test_program_that_cannot_be_started(path_folder):
    make_program(path_folder, 'bet')
    (path_folder / 'bet').write_text('#!/no/such/interpreter\n')
    with pytest.raises(UserError, match='bet cannot be started'):
        extract_brain(head(), 'bet')
