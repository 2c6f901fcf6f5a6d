"""Config files: the package's own by name, and the module `configs` that any of them may import."""

import contextlib
import dataclasses
import difflib
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

import autofuse_jax.configs
from autofuse_jax.errors import UserError

PACKAGE = 'configs'
# Each row of the comparison used to have a file of its own: comparison/cardiac_voxelmorph.py.
OLD_ROW = re.compile(r'(comparison/(?:cardiac|brain))_(\w+)')
# The module in which ml_collections executes the file of a flag called config.
EXECUTED = 'config_config'


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """A config file as a command line names it.

    Attributes:
        path: The file.
        argument: The text behind the colon, which `get_config` is called with; None without a colon.
        remark: Sentence to the user about the name; empty where it is as it should be.
    """

    path: Path
    argument: str | None = None
    remark: str = ''

    @property
    def flag(self) -> str:
        """What the flag --config of ml_collections takes."""
        return str(self.path) if self.argument is None else f'{self.path}:{self.argument}'

    @property
    def run_name(self) -> str:
        """Name of a run's folder, one for each file and text behind the colon."""
        words = [self.path.stem, *([self.argument] if self.argument else [])]
        return re.sub(r'[^\w.,=-]+', '_', '_'.join(words))


def config_folder() -> Path:
    """Return the folder of the configs that come with the package."""
    return Path(autofuse_jax.configs.__path__[0])


def default_config() -> ConfigDict:
    """Return the config with every setting at its default."""
    # By its name: where the module lies differs between a checkout and a wheel, which a type checker cannot know.
    return importlib.import_module(f'{autofuse_jax.configs.__name__}.default').get_config()


def config_names() -> tuple[str, ...]:
    """Return the names of the configs that come with the package, such as 'quickstart' and 'comparison/cardiac'."""
    folder = config_folder()
    return tuple(
        path.relative_to(folder).with_suffix('').as_posix()
        for path in sorted(folder.rglob('*.py'))
        if 'def get_config(' in path.read_text(encoding='utf-8')
    )


def find_config(text: str) -> ConfigFile:
    """Find the config file that a command line means.

    Args:
        text: A path, or the name of a config that comes with the package ('cardiac_semi', also as
            'configs/cardiac_semi.py'); what follows a colon is passed to the config's function.

    Returns:
        The file.

    Raises:
        UserError: There is neither such a file nor such a name.
    """
    words, colon, argument = text.partition(':')
    config_argument = argument if colon else None
    if Path(words).is_file():
        return ConfigFile(Path(words), config_argument)
    name = Path(words).as_posix().removeprefix(f'{PACKAGE}/').removesuffix('.py')
    names = config_names()
    if name in names:
        return ConfigFile(_config_path(name), config_argument)
    old = OLD_ROW.fullmatch(name)
    if old and not colon and old[1] in names:
        remark = f'{PACKAGE}/{name}.py is now {PACKAGE}/{old[1]}.py:{old[2]}'
        return dataclasses.replace(ConfigFile(_config_path(old[1]), old[2]), remark=remark)
    nearest = difflib.get_close_matches(name, names, len(names), cutoff=0.0)
    raise UserError(
        f'there is no config file {words}',
        expected=f'a Python file with get_config(), or one of {", ".join(nearest)}',
        fix=f'correct --config, for example to --config={nearest[0]}',
    )


@contextlib.contextmanager
def importable_configs(file: Path) -> Iterator[None]:
    """Let a config file import other configs as `configs.NAME`, and what lies in the working directory.

    `configs` is looked for in a folder of that name around the file, then in one in the working directory, and then
    among the configs that come with the package. On leaving, the modules of the process are as they were.

    Args:
        file: The file that is executed inside of this context.
    """
    around = [folder for folder in file.resolve().parents if folder.name == PACKAGE][:1]
    folders = [folder for folder in (*around, Path.cwd() / PACKAGE, config_folder()) if folder.is_dir()]
    first = next(folder / '__init__.py' for folder in folders if (folder / '__init__.py').is_file())
    loader = importlib.machinery.SourceFileLoader(PACKAGE, str(first))
    spec = importlib.machinery.ModuleSpec(PACKAGE, loader, origin=str(first), is_package=True)
    spec.submodule_search_locations = [*map(str, folders)]
    package = importlib.util.module_from_spec(spec)
    before, path = _take_modules(), list(sys.path)
    sys.modules[PACKAGE] = package
    # `python -m` has the working directory on its path, an installed program has not.
    sys.path.append(os.getcwd())
    try:
        loader.exec_module(package)
        yield
    finally:
        _take_modules()
        sys.modules.update(before)
        sys.path[:] = path


def shown_path(path: Path) -> Path:
    """Return a path as short as it can be said in the working directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _config_path(name: str) -> Path:
    return shown_path(config_folder() / f'{name}.py')


def _take_modules() -> dict[str, ModuleType]:
    """Remove what has been imported as configs, and what an earlier config file left behind, and return it."""
    names = [name for name in sys.modules if name in (PACKAGE, EXECUTED) or name.startswith(f'{PACKAGE}.')]
    return {name: sys.modules.pop(name) for name in names}
