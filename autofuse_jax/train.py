"""Training and evaluating a run from a notebook; the loop itself is training/loop.py.

`python -m autofuse_jax.train` is `python -m autofuse_jax.main`, as `autofuse-jax train` is.
"""

import sys

from autofuse_jax.training.loop import evaluate, train_and_evaluate

__all__ = ['evaluate', 'train_and_evaluate']

if __name__ == '__main__':
    from autofuse_jax.main import main

    sys.exit(main())
