"""Finding out what a path named on the command line is, and opening it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation import earlier_scores as earlier
from autofuse_jax.evaluation import learn2reg_fields, register_results
from autofuse_jax.evaluation.runs import KINDS, Run, Sources
from autofuse_jax.records.run_folder import CHECKPOINTS_NAME, CONFIG_NAME

WEIGHTS_SUFFIX = '.npz'
# Opens a training folder or released weights: path, name of the run, and where else to look.
OpenNetwork = Callable[[Path, str, Sources], Run]
# Names become folders of the output.
NOT_IN_NAMES = '/\\'


def run_names(paths: Sequence[Path], labels: Sequence[str] | None) -> list[str]:
    """Return what tables call the runs: the given names, or the shortest ends of the paths that differ.

    Args:
        paths: The runs.
        labels: Names from the command line, or None.

    Returns:
        One name a run.

    Raises:
        UserError: The number of names differs from that of the runs, or names or paths are the same twice.
    """
    if labels is not None:
        if len(labels) != len(paths):
            raise UserError(f'{len(labels)} names for {len(paths)} runs', fix='give --names one name for each run')
        wrong = [name for name in labels if not name.strip('. ') or any(sign in name for sign in NOT_IN_NAMES)]
        if wrong:
            raise UserError(f'{wrong[0]!r} cannot be the name of a run', expected='a name that a folder can have')
        names = list(labels)
    else:
        resolved = [path.resolve() for path in paths]
        depth = 1
        while len({path.parts[-depth:] for path in resolved}) < len({*resolved}):
            depth += 1
        names = ['_'.join(part.removesuffix(WEIGHTS_SUFFIX) for part in path.parts[-depth:]) for path in resolved]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f'two runs are called {twice[0]}', fix='name every run once, and give --names that differ')
    return names


def is_network(path: Path) -> bool:
    """Tell whether a path is a training folder or released weights, whose pairs are registered to be scored."""
    if path.is_file():
        return path.suffix == WEIGHTS_SUFFIX
    return (path / CHECKPOINTS_NAME).is_dir() and (path / CONFIG_NAME).is_file()


def open_run(path: Path, name: str, sources: Sources, open_network: OpenNetwork) -> Run:
    """Open one run.

    Args:
        path: A folder, the npz of released weights.
        name: Name in tables.
        sources: Other places to look in.
        open_network: Function that opens a network; passed in, because nothing else here needs jax.

    Returns:
        The run; its pairs are read when they are scored.

    Raises:
        UserError: The path is nothing that can be evaluated, or has no pairs.
    """
    if path.is_file():
        if path.suffix != WEIGHTS_SUFFIX:
            raise UserError(f'{path} is a file', expected=KINDS, fix='name its folder')
        return open_network(path, name, sources)
    if not path.is_dir():
        raise UserError(f'there is no folder {path}', expected=KINDS, fix='correct the path')
    if (path / earlier.PAIRS_NAME).is_file():
        return earlier.open_scores(path, name)
    if learn2reg_fields.has_fields(path):
        return learn2reg_fields.open_fields(path, name, sources)
    if is_network(path):
        return open_network(path, name, sources)
    if register_results.find_reports(path):
        return register_results.open_results(path, name, sources)
    failed = register_results.failed_sentence(path)
    if failed:
        raise UserError(f'no pairs were found in {path}: {failed.rstrip(".")}', fix='register them again')
    raise UserError(f'no pairs were found in {path}', expected=KINDS, fix='correct the path')
