"""Train or evaluate a registration method from a config file.

    python -m autofuse_jax.main --config=configs/quickstart.py --workdir=runs/quickstart
    python -m autofuse_jax.main --config=configs/quickstart.py --workdir=runs/quickstart --mode=evaluate
"""

import os
import sys
from pathlib import Path

import jax
from absl import flags
from ml_collections import config_flags

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.train import evaluate, train_and_evaluate

DEFAULT_WORKDIRS = 'runs'
STOPPED_STATUS = 143

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Config file; override fields with --config.field=VALUE.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; default runs/<name of the config>.')
_MODE = flags.DEFINE_enum('mode', 'train', ['train', 'evaluate'], 'Train (and then evaluate), or evaluate only.')


def _parse(arguments: list[str]) -> list[str]:
    """Parse flags; what is wrong with them or with the config file becomes one line."""
    try:
        rest = flags.FLAGS(arguments)
        if _CONFIG.value is None:
            raise UserError('no --config', fix='add --config=configs/quickstart.py, for example')
    except flags.Error as error:
        raise UserError(str(error).strip(), fix='see configs/default.py for all fields and their types') from error
    except (KeyError, AttributeError, TypeError, FileNotFoundError, IOError) as error:
        raise UserError(
            f'the config could not be built: {error}', fix='see configs/default.py for all fields and their types'
        ) from error
    if len(rest) > 1:
        raise UserError(f'unknown arguments {" ".join(rest[1:])}', fix='see --help')
    return rest


def _run() -> int:
    config = _CONFIG.value
    name = Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
    workdir = Path(_WORKDIR.value or Path(DEFAULT_WORKDIRS) / name)
    print('devices: ' + ', '.join(str(device) for device in jax.devices()), file=sys.stderr)
    if config.training.compilation_cache:
        jax.config.update('jax_compilation_cache_dir', os.path.expanduser(config.training.compilation_cache))
    if _MODE.value == 'evaluate':
        evaluate(config, workdir)
        return 0
    return STOPPED_STATUS if train_and_evaluate(config, workdir) is None else 0


def main() -> int:
    """Run the command line; returns the exit status."""

    def command() -> int:
        _parse(sys.argv)
        return _run()

    return run_command(command)


if __name__ == '__main__':
    sys.exit(main())
