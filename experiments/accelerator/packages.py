"""Packages that a machine without network lacks, from a folder of wheels."""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from autofuse_jax.errors import UserError

REQUIREMENTS = Path(__file__).resolve().parents[2] / 'requirements.txt'
# The name of a distribution in a line of requirements or in the name of a wheel.
NAME = re.compile(r'[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*')
DOWNLOAD = (
    'pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 '
    '--platform manylinux2014_x86_64 --dest DIR'
)


def required_packages(file: Path = REQUIREMENTS) -> list[str]:
    """Return the names of the packages that a file of requirements lists."""
    lines = file.read_text(encoding='utf-8').splitlines()
    matches = [NAME.match(line) for line in lines if not line.startswith('#')]
    return [match.group() for match in matches if match]


def missing_packages(names: Iterable[str], path: Sequence[str]) -> list[str]:
    """Return which packages are not installed; versions are not looked at.

    Args:
        names: Packages.
        path: Folders in which they are searched, as `sys.path`.
    """
    installed = {_normal(found.name) for found in importlib.metadata.distributions(path=list(path)) if found.name}
    return [name for name in names if _normal(name) not in installed]


def wheels_to_install(wheels: Path, path: Sequence[str]) -> list[Path]:
    """Return the wheels of a folder whose packages are not installed.

    Args:
        wheels: The folder.
        path: See `missing_packages`.
    """
    by_name = {wheel.name.split('-')[0]: wheel for wheel in sorted(wheels.glob('*.whl'))}
    return [by_name[name] for name in missing_packages(by_name, path)]


def install_missing(wheels: Path | None, target: Path) -> None:
    """Install from wheels what this machine lacks, into a folder of its own.

    Not into a virtual environment: one made from another virtual environment would not see the packages of that.

    Args:
        wheels: Folder of wheels; None: there are none.
        target: Folder to install into, to be searched before all others.

    Raises:
        UserError: A wheel cannot be installed, or a package that this project needs is still missing.
    """
    path = [str(target), *sys.path]
    chosen = wheels_to_install(wheels, path) if wheels else []
    if chosen:
        pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps', f'--target={target}']
        done = subprocess.run([*pip, *map(str, chosen)], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ['no reason given']
            raise UserError(f'pip cannot install from {wheels}: {lines[-1]}', fix='download wheels for this machine')
    if missing := missing_packages(required_packages(), path):
        fix = f'where there is a network: {DOWNLOAD} {" ".join(missing)}, then --wheels=DIR'
        raise UserError(f'these packages are not installed: {", ".join(missing)}', fix=fix)


def _normal(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()
