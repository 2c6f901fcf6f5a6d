"""Where a result comes from: command, version, commit, machine and date."""

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jaxlib

from autofuse_jax.runtime import available_cores
from autofuse_jax.version import __version__

# What processors call their vector instructions, the widest first: ratios to other software depend on them.
VECTOR_FLAGS = ('avx512f', 'avx2', 'avx', 'sve', 'asimd')
COMMIT_VARIABLE = 'AUTOFUSE_JAX_COMMIT'


def provenance() -> dict[str, Any]:
    """Describe this process and machine.

    Returns:
        JSON-compatible: command line, package versions, commit of the source tree (None outside a git checkout, with
        '-dirty' where tracked files differ from it; a copy without git is told by the variable AUTOFUSE_JAX_COMMIT),
        processor and its widest vector instructions (None where it does not say), devices, date in UTC.
    """
    devices = jax.devices()
    flags = f'{_processor_says("flags")} {_processor_says("Features")}'.split()
    return {
        'command': ' '.join(['python -m autofuse_jax.main', *sys.argv[1:]]),
        'versions': {
            'autofuse_jax': __version__,
            'jax': jax.__version__,
            'jaxlib': jaxlib.__version__,
            'python': platform.python_version(),
        },
        'commit': os.environ.get(COMMIT_VARIABLE) or _commit(),
        'machine': {
            'processor': _processor_says('model name') or platform.processor() or platform.machine(),
            'vectors': next((flag for flag in VECTOR_FLAGS if flag in flags), None),
            'cores': available_cores(),
            'devices': f'{len(devices)} x {devices[0].device_kind}',
        },
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ['git', 'describe', '--always', '--abbrev=12', '--exclude=*', '--dirty'],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _processor_says(what: str) -> str | None:
    """Return a line of Linux's description of the processor, or None."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text(errors='replace').splitlines():
            if line.startswith(what):
                return line.split(':', 1)[1].strip()
    return None
