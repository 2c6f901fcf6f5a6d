"""Move weights between this package and PyTorch implementations of the same networks.

    python -m autofuse_jax.port_weights --from=model.pt --to=params.npz --architecture=autofuse_semi
    python -m autofuse_jax.port_weights --from=params.npz --to=model.pt
    python -m autofuse_jax.port_weights --from=runs/semi --to=params.npz --naming=ours

--from is a PyTorch state dict (.pt, .pth), an npz with names of either kind, or the folder of a training run, of which
the best parameters are taken (the latest of RUN/checkpoints/latest). --to is .pt or .npz. An npz with our names gets a
JSON beside it that says which network it belongs to: together they are the released format, which
autofuse_jax.load_model and --config.weights read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.choices import ARCHITECTURES, NAMINGS
from autofuse_jax.commands.command_line import command_parser, run_parsed

PROGRAM = 'python -m autofuse_jax.port_weights'


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: Name of the program in help and records.

    Returns:
        The exit status: 0, or 2 after an error that the user can act on.
    """
    return run_parsed(_parser(program), _run, argv)


def _run(options: argparse.Namespace) -> None:
    from autofuse_jax.commands.port_weights import run

    run(options)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    parser.add_argument('--from', dest='source', type=Path, required=True, help='.pt, .npz or the folder of a run')
    parser.add_argument('--to', dest='target', type=Path, required=True, help='.pt or .npz')
    parser.add_argument(
        '--architecture',
        help=f'one of {", ".join(ARCHITECTURES)}; default: recognised from the names of the tensors',
    )
    parser.add_argument(
        '--naming',
        choices=NAMINGS,
        help='names in an npz that is written; default: the other kind than those that were read',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace what --to names')
    return parser


if __name__ == '__main__':
    sys.exit(main())
