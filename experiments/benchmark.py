"""The command `python -m experiments.benchmark`; what it does is in speed/benchmark.py."""

import sys

from experiments.speed.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
