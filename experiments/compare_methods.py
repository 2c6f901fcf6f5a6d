"""The command `python -m experiments.compare_methods`; what it does is in comparison/compare_methods.py."""

import sys

from experiments.comparison.compare_methods import main

if __name__ == '__main__':
    sys.exit(main())
