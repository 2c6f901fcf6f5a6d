import builtins

import numpy as np
import pytest

from autofuse_jax.data.prepared import Grid
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.mni import brain_window, fingerprint, load_template
from tests.preparation.brain_trees import SHAPE, make_template, save


def test_template_of_a_file(tmp_path):
    template = load_template(make_template(tmp_path / 'template.nii.gz'))
    assert template.image.shape == SHAPE and template.labels is None and template.name == 'template.nii.gz'


def test_mni_template_comes_with_nilearn():
    pytest.importorskip('nilearn')
    template = load_template()
    assert template.spacing == (1.0, 1.0, 1.0) and template.image.min() == 0
    affine = brain_window(template, Grid((144, 192, 160), (1.0, 1.0, 1.0))).affine
    # The brain of this template spans -72..72, -107..73 and -72..82 mm.
    np.testing.assert_allclose(affine[:3, 3], [-71.5, -112.5, -74.5])
    last = affine @ [143, 191, 159, 1]
    assert (affine[:3, 3] <= [-71.5, -107, -72]).all() and (last[:3] >= [71.5, 73, 82]).all()


def test_without_nilearn_the_message_says_what_to_do(monkeypatch):
    original = builtins.__import__

    def without_nilearn(name, *args, **kwargs):
        if name.startswith('nilearn'):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without_nilearn)
    with pytest.raises(UserError, match='nilearn, which is not installed') as raised:
        load_template()
    assert 'autofuse_jax[brain]' in str(raised.value) and '--template' in str(raised.value)


def test_bad_templates(tmp_path):
    with pytest.raises(UserError, match='there is no file'):
        load_template(tmp_path / 'none.nii.gz')
    negative = save(tmp_path / 'negative.nii.gz', -np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    with pytest.raises(UserError, match='holds nothing above 0'):
        load_template(negative)


def test_window_is_centred_on_the_brain_whatever_the_orientation():
    image = np.zeros((10, 12, 14), np.float32)
    image[2:6, 3:9, 4:8] = 1
    # The box is 2..5, 3..8 and 4..7, so its centre is voxel (3.5, 5.5, 5.5).
    ras = Volume(image, None, np.eye(4), 'ras')
    wanted = Grid((5, 4, 3), (1.0, 2.0, 1.0))
    window = brain_window(ras, wanted)
    assert window.shape == (5, 4, 3)
    np.testing.assert_allclose(window.affine, [[1, 0, 0, 1.5], [0, 2, 0, 2.5], [0, 0, 1, 4.5], [0, 0, 0, 1]])
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 9
    las = Volume(image[::-1].copy(), None, flipped, 'las')
    np.testing.assert_allclose(brain_window(las, wanted).affine, window.affine)


def test_fingerprint_depends_on_content_and_not_on_the_folder(tmp_path):
    one = load_template(make_template(tmp_path / 'a' / 'template.nii.gz'))
    same = load_template(make_template(tmp_path / 'b' / 'template.nii.gz'))
    other = Volume(one.image + 1, None, one.affine, one.name)
    moved = Volume(one.image, None, one.affine @ np.diag([2.0, 1, 1, 1]), one.name)
    assert fingerprint(one) == fingerprint(same) and str(tmp_path) not in fingerprint(one)
    assert len({fingerprint(volume) for volume in (one, other, moved)}) == 3
