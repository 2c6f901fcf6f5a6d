"""What this package runs in: versions, extras, machine and the devices that jax sees, even where jax does not start."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from typing import Any

from autofuse_jax.provenance import commit, processor
from autofuse_jax.runtime import available_cores, machine_bytes
from autofuse_jax.version import __version__

DISTRIBUTION = 'autofuse_jax'
LIBRARIES = (
    'jax',
    'jaxlib',
    'flax',
    'optax',
    'orbax-checkpoint',
    'grain',
    'ml_collections',
    'numpy',
    'scipy',
    'nibabel',
)
# Variables that decide what jax runs on.
VARIABLES = ('JAX_PLATFORMS', 'XLA_FLAGS', 'CUDA_VISIBLE_DEVICES')
# An accelerator may take a minute to answer; one that hangs must not keep a report from being made.
DEVICE_SECONDS = 120
DEVICE_PROGRAM = """
import json, jax
memory = [(device.memory_stats() or {}).get('bytes_limit') for device in jax.local_devices()]
devices = [{'kind': device.device_kind, 'memory': of} for device, of in zip(jax.local_devices(), memory)]
print(json.dumps({'backend': jax.default_backend(), 'devices': devices}))
"""
# The folders of a path, in sentences.
FOLDERS = re.compile(r"""(?<![\w.])(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?:[^\s/\\'",:;()<>|]+[/\\])*""")


def versions() -> dict[str, str | None]:
    """Return the versions of this package, Python and the libraries it stands on; None for what is not installed."""
    return {DISTRIBUTION: __version__, 'python': platform.python_version()} | {
        name: _installed_version(name) for name in LIBRARIES
    }


def extras() -> dict[str, list[str]] | None:
    """Return the extras of this package and which packages of each are missing; None where it is not installed."""
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    missing: dict[str, list[str]] = {}
    for requirement in required:
        extra = re.search(r"""extra == ['"]([\w-]+)['"]""", requirement)
        if extra:
            name = re.split(r'[^\w.-]', requirement, maxsplit=1)[0]
            missing.setdefault(extra[1], []).extend([] if _installed_version(name) else [name])
    return missing


def machine() -> dict[str, Any]:
    """Describe the machine: system, processor, cores that this process may use, memory in bytes."""
    return {
        'system': f'{platform.system()} {platform.release()} {platform.machine()}',
        'processor': processor(),
        'cores': available_cores(),
        'memory': machine_bytes(),
    }


def jax_devices() -> dict[str, Any]:
    """Ask jax for its devices, in a process of its own: a broken jax may raise anything, end the process, or hang.

    Returns:
        'backend' and 'devices', or 'problem' in words; and the variables that are set for it.
    """
    settings = {name: without_folders(os.environ[name]) for name in VARIABLES if os.environ.get(name)}
    return _ask_for_devices() | ({'variables': settings} if settings else {})


def _ask_for_devices() -> dict[str, Any]:
    try:
        answer = subprocess.run(
            [sys.executable, '-c', DEVICE_PROGRAM], capture_output=True, text=True, timeout=DEVICE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {'problem': f'jax did not name its devices within {DEVICE_SECONDS} s'}
    if answer.returncode == 0:
        return json.loads(answer.stdout.splitlines()[-1])
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()] or ['it said nothing']
    return {'problem': f'jax does not start (status {answer.returncode}): {without_folders(lines[-1])}'}


def facts() -> dict[str, Any]:
    """Return all of it, in JSON types, with the commit of a checkout (None elsewhere)."""
    return {
        'versions': versions(),
        'commit': commit(),
        'missing_of_extras': extras(),
        'machine': machine(),
        'jax': jax_devices(),
    }


def without_folders(text: str) -> str:
    """Leave only the last part of every path in a text: folders are often named after people."""
    return FOLDERS.sub('', text)


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
