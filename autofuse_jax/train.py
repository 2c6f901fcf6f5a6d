"""Training and evaluating a run from a notebook; the loop itself is training/loop.py."""

from autofuse_jax.training.loop import evaluate, train_and_evaluate

__all__ = ['evaluate', 'train_and_evaluate']
