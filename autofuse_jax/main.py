"""Train or evaluate a registration method from a config file.

    python -m autofuse_jax.main --config=configs/quickstart.py --workdir=runs/quickstart
    python -m autofuse_jax.main --config=configs/quickstart.py --workdir=runs/quickstart --mode=evaluate

    python -m autofuse_jax.main --config=... --workdir=... --distributed  # one in each process of a cluster

Any field of the config can be set on the command line: --config.optimizer.learning_rate=3e-4. All fields, their units
and defaults are in configs/default.py. Training continues from the work folder's checkpoint if there is one.
"""

import contextlib
import dataclasses
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from autofuse_jax.choices import JOIN_SECONDS
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.training.config_files import (
    ConfigFile,
    config_folder,
    config_names,
    find_config,
    importable_configs,
    shown_path,
)

PROGRAM = 'python -m autofuse_jax.main'
DEFAULT_WORKDIRS = 'runs'
MODES = ('train', 'evaluate')
# What a shell reports for a process that SIGTERM ended; training that was asked to stop says the same.
STOPPED_STATUS = 143


@dataclasses.dataclass(frozen=True)
class Invocation:
    """A parsed command line.

    Attributes:
        config: The config, with the command line's values.
        workdir: Folder of the run.
        mode: 'train' or 'evaluate'.
        join: Arguments of `join_processes`; None for a run in a single process.
    """

    config: ConfigDict
    workdir: Path
    mode: str
    join: dict[str, Any] | None = None


def parse(arguments: list[str], program: str = PROGRAM, mode: str = MODES[0]) -> Invocation | None:
    """Parse a command line.

    Args:
        arguments: Arguments without the program's name.
        program: Name of the program in the help.
        mode: Task where `arguments` do not name one.

    Returns:
        The task; None where only help was asked for, which is then printed.

    Raises:
        UserError: A flag, a config field or its type is wrong, or the config file is missing or broken.
    """
    values = flags.FlagValues()
    flags.DEFINE_string('workdir', None, 'Folder of the run; default runs/<name of the config>.', flag_values=values)
    flags.DEFINE_enum('mode', mode, MODES, 'Train and then evaluate, or evaluate only.', flag_values=values)
    flags.DEFINE_boolean('distributed', False, 'Join the other processes of this run.', flag_values=values)
    flags.DEFINE_string('coordinator', None, 'HOST:PORT of process 0; default: ask the cluster.', flag_values=values)
    flags.DEFINE_integer('processes', None, 'How many processes; default: ask the cluster.', flag_values=values)
    flags.DEFINE_integer('process', None, 'Number of this one; default: ask the cluster.', flag_values=values)
    flags.DEFINE_integer('timeout', JOIN_SECONDS, 'Seconds to wait for the others.', 1, flag_values=values)
    flags.DEFINE_boolean('help', False, 'Show this text.', short_name='h', flag_values=values)
    file, arguments = _config_file(arguments)
    config_flag = config_flags.DEFINE_config_file(
        'config',
        None,
        'Config file, or the name of one that comes with the package; set its fields with --config.FIELD=VALUE.',
        flag_values=values,
        sys_argv=['main', *arguments],
    )
    advice = f'see {shown_path(config_folder() / "default.py")} for all fields and their types'
    try:
        with contextlib.nullcontext() if file is None else importable_configs(file.path):
            rest = values(['main', *arguments])
        config = config_flag.value
        if config is not None:
            # A file that failed to load says so at the first access only.
            _ = config.method
    except Exception as error:
        # A config file is a program: whatever goes wrong in it or in setting its fields ends up here.
        user_error = _user_error_behind(error)
        if user_error is not None:
            raise user_error from error
        cause = '' if isinstance(error, flags.Error) else 'the config cannot be built: '
        raise UserError(f'{cause}{_one_line(error)}', fix=advice) from error
    if values.help:
        names = textwrap.fill(f'Configs: {", ".join(config_names())}.', 120)
        print(f'{__doc__.replace(PROGRAM, program)}\n{names}\n\nFlags:\n{values.get_help()}')
        return None
    if len(rest) > 1:
        raise UserError(f'unknown arguments {" ".join(rest[1:])}', fix='see --help')
    if config is None or file is None:
        raise UserError('no config is given', fix='add --config=configs/quickstart.py, for example')
    if file.remark:
        print(file.remark, file=sys.stderr)
    workdir = Path(values.workdir or Path(DEFAULT_WORKDIRS) / file.run_name)
    return Invocation(config, workdir, values.mode, _joining(values))


def _joining(values: flags.FlagValues) -> dict[str, Any] | None:
    options = {name: values[name].value for name in ('coordinator', 'processes', 'process')}
    if values.distributed:
        return options | {'timeout': values.timeout}
    unused = [f'--{name}' for name, value in options.items() if value is not None]
    if unused:
        raise UserError(f'{", ".join(unused)} without --distributed', fix='add --distributed')
    return None


def run(invocation: Invocation) -> int:
    """Train or evaluate.

    Args:
        invocation: Result of `parse`.

    Returns:
        0, or 143 where a signal ended training early (with a checkpoint).

    Raises:
        UserError: Config, data or checkpoint are wrong.
        OSError: Something could not be written.
    """
    # The help of the command needs no jax.
    import jax

    from autofuse_jax.runtime import keep_compiled_programs
    from autofuse_jax.training.distributed import join_processes
    from autofuse_jax.training.loop import evaluate, train_and_evaluate

    if invocation.join is not None:
        join_processes(**invocation.join)
    keep_compiled_programs(invocation.config.training.compilation_cache)
    print('devices: ' + ', '.join(str(device) for device in jax.devices()), file=sys.stderr)
    if invocation.mode == 'evaluate':
        evaluate(invocation.config, invocation.workdir)
        return 0
    return STOPPED_STATUS if train_and_evaluate(invocation.config, invocation.workdir) is None else 0


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM, mode: str = MODES[0]) -> int:
    """Run the command line.

    Args:
        arguments: Arguments without the program's name; default those of the process.
        program: Name of the program in the help.
        mode: Task where `arguments` do not name one.

    Returns:
        Exit status: 0, 2 after an error that the user can act on, 143 after a signal.
    """

    def command() -> int:
        invocation = parse(list(sys.argv[1:] if arguments is None else arguments), program, mode)
        return 0 if invocation is None else run(invocation)

    return run_command(command)


def _config_file(arguments: list[str]) -> tuple[ConfigFile | None, list[str]]:
    """Return the config file that arguments name, the last where there are several, and the arguments with its path."""
    others, text = [], None
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition('=')
        if name in ('--config', '-config'):
            text = value if equals else next(waiting, '')
        else:
            others.append(argument)
    if text is None:
        return None, others
    file = find_config(text)
    return file, [f'--config={file.flag}', *others]


def _user_error_behind(error: BaseException) -> UserError | None:
    """Return what a config file raised for the user, which ml_collections and absl wrap in the text of a traceback."""
    user_error: UserError | None = None
    cause: BaseException | None = error
    while cause is not None:
        user_error = cause if isinstance(cause, UserError) else user_error
        cause = cause.__cause__ or cause.__context__
    return user_error


def _one_line(error: Exception) -> str:
    # A KeyError shows its text quoted and escaped, and here one is often wrapped in another.
    text = str(error).replace('\\n', '\n').replace("\\'", "'").strip('\'"')
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ' '.join(lines) or type(error).__name__


if __name__ == '__main__':
    sys.exit(main())
