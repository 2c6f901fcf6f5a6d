"""Weights small enough for tests: networks of a few channels, random but the same every time."""

import contextlib
import functools
from collections.abc import Iterator
from unittest import mock

import jax
import numpy as np

from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting import ARCHITECTURES, convert, to_official
from autofuse_jax.porting.convert import flatten, parameter_structure

# Options of the smallest network of each architecture.
OPTIONS = {
    'autofuse_unsup': {'base_channels': 2},
    'autofuse_semi': {'base_channels': 2, 'num_classes': 3, 'segmentation_feedback': 'argmax'},
    'autofuse_trans_unsup': {
        'base_channels': 8,
        'window': (5, 5, 5),
        'relative_bias': 'truncated',
        'single_branch': 'swin',
    },
    'autofuse_trans_semi': {
        'base_channels': 8,
        'num_classes': 3,
        'segmentation_feedback': 'argmax',
        'window': (5, 5, 5),
        'relative_bias': 'truncated',
        'single_branch': 'convolutional',
    },
    'autofuse_trans_semi_swin': {
        'base_channels': 8,
        'num_classes': 3,
        'segmentation_feedback': 'argmax',
        'window': (5, 5, 5),
        'relative_bias': 'truncated',
        'single_branch': 'swin',
    },
    'voxelmorph': {'variant': 'current', 'base_channels': 2},
    'lku_net': {'channels': 2},
    'sen': {'base_channels': 1},
    'pc_reg': {'num_classes': 3, 'base_channels': 4, 'test_masks': 'soft'},
    # Only a window of one token is told by the shapes.
    'transmorph': {'embed_dim': 4, 'num_heads': (1, 1, 2, 2), 'head_channels': 2, 'window': (1, 1, 1)},
    'transmatch': {
        'embed_dim': 4,
        'num_heads': (1, 1, 2, 2),
        'cross_heads': 2,
        'window': (1, 1, 1),
        'legacy_window_reverse': True,
        'legacy_grid': True,
    },
    'xmorpher': {'embed_dim': 3, 'legacy': True},
}


@contextlib.contextmanager
def remembered_structures() -> Iterator[None]:
    """Trace each network once inside the context; porting does it for every file, which takes a second each time."""
    made = {}

    def make(name, model, *others):
        # A method of equal options is the same object, by which its structure is found again.
        key = repr((name, sorted(model.items()), others))
        if key not in made:
            made[key] = predicting_method(name, model, *others)
        return made[key]

    structure = functools.lru_cache(maxsize=None)(parameter_structure)
    with (
        mock.patch.object(convert, 'predicting_method', make),
        mock.patch.object(convert, 'parameter_structure', structure),
    ):
        yield


def params_of(method, options, seed=0):
    """Random parameters by flat name."""
    # By way of the module, where `remembered_structures` puts itself.
    structure = flatten(convert.parameter_structure(convert.predicting_method(method, options)))
    rng = np.random.default_rng(seed)
    return {name: rng.normal(scale=0.1, size=leaf.shape).astype(np.float32) for name, leaf in structure.items()}


def small_params(architecture, **others):
    """Random parameters of the smallest network of an architecture."""
    return params_of(ARCHITECTURES[architecture].method, OPTIONS[architecture] | others)


def small_state(architecture, **others):
    """The same as an official state dict."""
    return to_official(small_params(architecture, **others))[0]


def assert_same(one, other):
    """Check that two sets of named arrays are equal bit for bit, in the same order."""
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def as_tree(params):
    """Arrays on the device."""
    return jax.tree.map(jax.numpy.asarray, params)
