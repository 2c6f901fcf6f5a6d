"""Where a result comes from: command, version, commit, machine and date."""

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from autofuse_jax.runtime import available_cores
from autofuse_jax.version import __version__

# What processors call their vector instructions, the widest first: ratios to other software depend on them.
VECTOR_FLAGS = ('avx512f', 'avx2', 'avx', 'sve', 'asimd')
CONSOLE_PROGRAM = 'autofuse-jax'
COMMIT_VARIABLE = 'AUTOFUSE_JAX_COMMIT'


def provenance() -> dict[str, Any]:
    """Describe this process and machine.

    Returns:
        JSON-compatible: command line, package versions, commit of the source tree (None outside a git checkout, with
        '-dirty' where tracked files differ from it; a copy without git is told by the variable AUTOFUSE_JAX_COMMIT),
        processor and its widest vector instructions (None where it does not say), devices, date in UTC.
    """
    # Weights can be described and runs evaluated without jax, until something is recorded.
    import jax
    import jaxlib

    devices = jax.devices()
    flags = f'{_processor_says("flags")} {_processor_says("Features")}'.split()
    return {
        'command': ' '.join([_program(), *sys.argv[1:]]),
        'versions': {
            'autofuse_jax': __version__,
            'jax': jax.__version__,
            'jaxlib': jaxlib.__version__,
            'python': platform.python_version(),
        },
        'commit': commit(),
        'machine': {
            'processor': processor(),
            'vectors': next((flag for flag in VECTOR_FLAGS if flag in flags), None),
            'cores': available_cores(),
            'devices': f'{len(devices)} x {devices[0].device_kind}',
        },
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }


def _program() -> str:
    """Return what a shell starts this process with; whatever is not the installed program counts as `main`."""
    return CONSOLE_PROGRAM if Path(sys.argv[0]).stem == CONSOLE_PROGRAM else 'python -m autofuse_jax.main'


def commit() -> str | None:
    """Return the commit of the source tree, None outside a git checkout of this package; see `provenance`."""
    if os.environ.get(COMMIT_VARIABLE):
        return os.environ[COMMIT_VARIABLE]
    # An installed package may lie in an environment inside somebody else's checkout.
    if _git('ls-files', '--error-unmatch', Path(__file__).name) is None:
        return None
    return _git('describe', '--always', '--abbrev=12', '--exclude=*', '--dirty')


def _git(*arguments: str) -> str | None:
    """Return what git says of the folder of this package, None where it fails."""
    try:
        answer = subprocess.run(
            ['git', *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def processor() -> str:
    """Return the name of the processor, or of its kind where it has none."""
    return _processor_says('model name') or platform.processor() or platform.machine()


def _processor_says(what: str) -> str | None:
    """Return a line of Linux's description of the processor, or None."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text(errors='replace').splitlines():
            if line.startswith(what):
                return line.split(':', 1)[1].strip()
    return None
