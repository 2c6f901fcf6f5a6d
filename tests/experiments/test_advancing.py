"""What trains one branch on examples of another kind stops where its numbers end."""

import argparse

import jax.numpy as jnp
import pytest

from autofuse_jax.errors import DivergedError
from autofuse_jax.methods.base import Objective
from autofuse_jax.training import checkpoint_folders
from experiments.weights.advancing import train_branch


def test_a_training_that_diverged_is_told_and_not_saved(tmp_path):
    def loss(params, example, key):
        return jnp.sum(params['branch']['kernel'] ** 2) / example, {}

    objective = Objective('parabola', loss, trains=('branch',))
    options = argparse.Namespace(work=tmp_path / 'work', steps=4, learning_rate=0.1, seed=0)
    params = {'branch': {'kernel': jnp.ones(2)}}
    with pytest.raises(DivergedError, match='at step 3 these are not finite any more: grad_norm, loss, update_norm'):
        train_branch(options, lambda step: jnp.float32(step != 2), objective, params)
    assert checkpoint_folders.latest_step(options.work) is None
    trained, _ = train_branch(options, lambda step: jnp.float32(1.0), objective, params)
    assert 0 < trained['branch']['kernel'][0] < 1
