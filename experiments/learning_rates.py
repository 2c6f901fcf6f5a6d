"""The command `python -m experiments.learning_rates`; what it does is in comparison/learning_rates.py."""

import sys

from experiments.comparison.learning_rates import main

if __name__ == '__main__':
    sys.exit(main())
