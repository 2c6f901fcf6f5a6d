"""Kill, fill up, damage and crowd the commands, and count what is lost, ends in a traceback or is silently wrong.

    python -m tests.reliability.campaign.run --out=experiments/results/reliability.json
    python -m tests.reliability.campaign.run --only 'kills of commands' --share=0.2 --seed=7 --out=kills.json

Another seed takes other moments and other damage. The record is written after each part, and --resume leaves out those
that it has; the exit status is 1 where any trial shows a fault. docs/reliability.md has the table, which
`python -m experiments.tables.readme_tables` makes of the record.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

SHARE = 1.0
# Compiling in haste, and keeping every program, so that none is compiled twice.
FLAGS = '--xla_backend_optimization_level=0'


def main(argv: list[str] | None = None) -> int:
    """Run the campaign.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0 where no trial shows a fault, else 1.
    """
    # Read by the first import of jax, here and in programs that are started.
    os.environ['XLA_FLAGS'] = ' '.join([FLAGS, os.environ.get('XLA_FLAGS', '')])
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    from tests.reliability.campaign.parts import PARTS, run_parts

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='JSON file to write')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='other moments and damage; 0')
    parser.add_argument('--only', nargs='+', choices=list(PARTS), default=list(PARTS), metavar='PART', help='parts')
    parser.add_argument('--share', type=float, default=SHARE, metavar='X', help='share of the trials; 1')
    parser.add_argument('--sizes', type=int, default=60, metavar='N', help='sizes of images of the long loop; 60')
    parser.add_argument('--resume', action='store_true', help='leave out the parts that are in the record')
    parser.add_argument('--work', type=Path, metavar='DIR', help='folder to work in, kept; default a temporary one')
    options = parser.parse_args(argv)
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
        return run_parts(options, options.work.resolve())
    with tempfile.TemporaryDirectory() as folder:
        return run_parts(options, Path(folder))


if __name__ == '__main__':
    sys.exit(main())
