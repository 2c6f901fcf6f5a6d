"""`python -m autofuse_jax` is the program `autofuse-jax`."""

import sys

from autofuse_jax.cli import main

sys.exit(main())
