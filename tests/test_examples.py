"""The examples in docstrings give what they say."""

import doctest
import importlib

import pytest

from tests.test_layers import FILES, PACKAGE

# Functions that users call, which must each show how.
SHOWN = {
    'autofuse_jax.register': ['register_images'],
    'autofuse_jax.weights.pretrained': ['load_model'],
    'autofuse_jax.training.loop': ['train_and_evaluate'],
    'autofuse_jax.fields': ['warp_linear', 'integrate_velocity', 'jacobian_determinant', 'compose'],
    'autofuse_jax.losses.similarity': ['local_ncc'],
    'autofuse_jax.losses.overlap': ['dice_loss', 'focal_dice_loss'],
    'autofuse_jax.losses.regularity': ['velocity_kl', 'gradient_penalty', 'negative_jacobian_loss'],
    'autofuse_jax.metrics.folding': ['jacobian_determinant', 'njd_percent', 'sdlogj'],
    'autofuse_jax.metrics.overlap': ['dice_per_label'],
    'autofuse_jax.metrics.structures': ['mean_over_structures'],
}
# What does a whole registration or training: the light examples of the other files run in every test run.
LONG = {'autofuse_jax.training.loop'}
WITH_EXAMPLES = [
    '.'.join(['autofuse_jax', *path.relative_to(PACKAGE).with_suffix('').parts])
    for path in FILES
    if '>>> ' in path.read_text(encoding='utf-8')
]


@pytest.mark.parametrize(
    'module', [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in WITH_EXAMPLES]
)
def test_examples_give_what_they_say(module, tmp_path, monkeypatch):
    # Whatever an example writes goes to a folder of its own.
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried > 0 and failed == 0


@pytest.mark.parametrize(('module', 'names'), SHOWN.items(), ids=SHOWN)
def test_public_functions_show_how_they_are_called(module, names):
    home = importlib.import_module(module)
    assert [name for name in names if '>>> ' not in (getattr(home, name).__doc__ or '')] == []
