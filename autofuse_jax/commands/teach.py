"""Optimise the velocity field of each training pair once, as a teacher for networks.

    autofuse-jax teach --data=prepared/acdc --out=prepared/acdc_teacher --labels

With --labels the manual labels of training subjects guide the optimisation, which is right for semi-supervised networks
only; without, the images alone decide. One field serves both directions of a pair. What is there already is kept, so
that the command can be repeated after an interruption. `data.teacher` of a config names the folder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.commands.command_line import command_parser, run_parsed
from autofuse_jax.errors import CONTINUES

PROGRAM = 'autofuse-jax teach'
# As `data.pairs.ALL_LABELLED`.
ALL = -1


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: Name of the program in help and records.

    Returns:
        The exit status: 0, or 2 after an error that the user can act on.
    """
    return run_parsed(_parser(program), _run, argv, lambda _: CONTINUES)


def _run(options: argparse.Namespace) -> None:
    from autofuse_jax.preparation.teacher import teach
    from autofuse_jax.runtime import enable_compilation_cache

    enable_compilation_cache()
    teach(options.data, options.out, labelled=options.labelled_subjects if options.labels else 0, seed=options.seed)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    parser.add_argument('--data', type=Path, required=True, help='folder that autofuse_jax.prepare wrote')
    parser.add_argument('--out', type=Path, required=True, help='folder of the fields')
    parser.add_argument('--labels', action='store_true', help='manual labels of training subjects guide')
    parser.add_argument('--labelled-subjects', type=int, default=ALL, help='as in the config; default -1: all')
    parser.add_argument('--seed', type=int, default=0, help='of the config that chooses the labelled subjects')
    return parser
