"""Where a result comes from: command, version, commit, machine and date."""

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from autofuse_jax.runtime import available_cores, command_line
from autofuse_jax.version import __version__

# What processors call their vector instructions, the widest first: ratios to other software depend on them.
VECTOR_FLAGS = ('avx512f', 'avx2', 'avx', 'sve', 'asimd')
COMMIT_VARIABLE = 'AUTOFUSE_JAX_COMMIT'


def provenance() -> dict[str, Any]:
    """Describe this process and machine.

    Returns:
        JSON-compatible: command line, package versions, commit (see `commit`), processor and its widest vector
        instructions (None where it does not say), devices, date in UTC.
    """
    # Weights can be described and runs evaluated without jax, until something is recorded.
    import jax
    import jaxlib

    devices = jax.devices()
    flags = f'{_processor_says("flags")} {_processor_says("Features")}'.split()
    return {
        'command': command_line(),
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


def commit() -> str | None:
    """Return the commit of this package, see `commit_of`; a copy without git is told by AUTOFUSE_JAX_COMMIT."""
    return os.environ.get(COMMIT_VARIABLE) or commit_of(Path(__file__).parent)


def commit_of(folder: Path) -> str | None:
    """Return the commit of a package that lies in the top folder of its own git checkout.

    Args:
        folder: Folder of the package.

    Returns:
        Twelve digits, with '-dirty' where tracked files differ; None for a package that was installed, even into an
        environment inside some other checkout, whose commit says nothing of it.
    """
    inside = _git(folder, 'rev-parse', '--show-prefix')
    if inside != f'{folder.name}/' or _git(folder, 'ls-files', '__init__.py') != '__init__.py':
        return None
    return _git(folder, 'describe', '--always', '--abbrev=12', '--exclude=*', '--dirty')


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints; None where it cannot, because it is not there or the folder is in no checkout."""
    try:
        process = subprocess.run(['git', *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()


def processor() -> str:
    """Return the name of the processor, or of its kind where it has none."""
    return _processor_says('model name') or platform.processor() or platform.machine()


def _processor_says(what: str) -> str | None:
    """Return a line of Linux's description of the processor, or None."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text(encoding='utf-8', errors='replace').splitlines():
            if line.startswith(what):
                return line.split(':', 1)[1].strip()
    return None
