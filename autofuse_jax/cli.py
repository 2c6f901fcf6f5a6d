"""The program `autofuse-jax`: one command with a subcommand for each thing that the package does.

A subcommand takes the options of its module: `autofuse-jax register` is `python -m autofuse_jax.register`.
"""

import dataclasses
import difflib
import importlib
import sys
from collections.abc import Sequence

from autofuse_jax.errors import NOTHING_WRITTEN, UserError, run_command
from autofuse_jax.version import __version__

PROGRAM = 'autofuse-jax'


@dataclasses.dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        module: Module whose `main` does it.
        summary: Purpose, in one line.
        arguments: Arguments that come before those of the user.
    """

    module: str
    summary: str
    arguments: tuple[str, ...] = ()


TRAIN = 'autofuse_jax.main'
GROUPS = {
    'Registration': {
        'register': Command('autofuse_jax.register', 'register two images, or the frames of a series'),
        'apply': Command('autofuse_jax.apply_transform', 'apply, join, convert or explain saved transforms'),
        'evaluate': Command('autofuse_jax.evaluate', 'score registrations under a protocol and compare them'),
    },
    'Training': {
        'demo': Command(
            TRAIN,
            'train a small network on synthetic hearts: a few minutes, no data needed',
            ('--config=quickstart', '--workdir=runs/quickstart'),
        ),
        'prepare': Command('autofuse_jax.prepare', 'prepare a data set for training'),
        'teach': Command('autofuse_jax.commands.teach', 'optimise the training pairs once, as a teacher for networks'),
        'train': Command(TRAIN, 'train a network from a config, then evaluate it'),
        'evaluate-run': Command(TRAIN, 'evaluate the network of a training run again', ('--mode=evaluate',)),
    },
    'Networks': {
        'port-weights': Command(
            'autofuse_jax.port_weights', 'release weights of a run, or move them from and to PyTorch'
        ),
        'export': Command('autofuse_jax.export', 'write a trained network for OpenVINO or XLA'),
    },
    'Problems': {
        'describe': Command(
            'autofuse_jax.commands.describe', 'say what a report of a problem needs: versions, devices, headers'
        ),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit status: that of the subcommand, 0 after help, 2 where there is no such subcommand.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if name == 'help' and rest:
        name, rest = rest[0], ['--help']
    if name in ('help', '--help', '-h'):
        print(help_text())
        return 0
    if name == '--version':
        print(f'{PROGRAM} {__version__}')
        return 0
    return run_command(lambda: _run(name, rest), interrupted=NOTHING_WRITTEN)


def help_text() -> str:
    """Return what the program prints without arguments."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f'usage: {PROGRAM} COMMAND [OPTIONS]', '', 'Deformable registration of 3-D medical images.']
    for title, group in GROUPS.items():
        lines += ['', title, *(f'  {name:{width}}{command.summary}' for name, command in group.items())]
    return '\n'.join([*lines, '', f'{PROGRAM} COMMAND --help shows the options of a command.'])


def _run(name: str, rest: Sequence[str]) -> int:
    if name not in COMMANDS:
        longer = [command_name for command_name in COMMANDS if command_name.startswith(name)]
        nearest = (longer or difflib.get_close_matches(name, COMMANDS, 1, cutoff=0.0))[0]
        raise UserError(
            f'there is no command {name}',
            expected=f'one of {", ".join(COMMANDS)}',
            fix=f'{PROGRAM} {nearest}' if not name.startswith('-') else f'begin with the command: {PROGRAM} --help',
        )
    command = COMMANDS[name]
    return importlib.import_module(command.module).main([*command.arguments, *rest], f'{PROGRAM} {name}')


if __name__ == '__main__':
    sys.exit(main())
