"""What every preparation does with its output folder and its user: claim the folder, show progress, list problems."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from autofuse_jax.data.manifests import MANIFEST_NAME
from autofuse_jax.errors import USER_ERROR_STATUS, UserError
from autofuse_jax.files import claim_folder, write_json
from autofuse_jax.preparation.sources import Problem
from autofuse_jax.progress import CountProgress
from autofuse_jax.records.reading import read_json
from autofuse_jax.runtime import Part
from autofuse_jax.storage.locks import locked
from autofuse_jax.storage.ready import declare_ready, finish_inside, move_in
from autofuse_jax.storage.temporary import remove_leftovers_in

SETTINGS_NAME = 'settings.json'
# Folder inside the output folder in which a data set is made that takes the place of a complete one. It has the same
# name in all processes, so that the next one goes on with what a killed one has made.
REPLACEMENT_NAME = '.replacement'


class HasProblems(Protocol):
    """What became of a subject."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What was wrong with it."""
        ...


Outcome = TypeVar('Outcome', bound=HasProblems)


@contextlib.contextmanager
def prepared_folder(
    out: Path, sources: Sequence[Path], settings: dict[str, Any], overwrite: bool | None, *, part: Part | None = None
) -> Iterator[Path]:
    """Hold the lock of an output folder and record the settings in it, or refuse one prepared with other settings.

    Args:
        out: The output folder; made if missing.
        sources: Folders that are prepared.
        settings: Settings that determine the result.
        overwrite: Whether frames prepared with other settings may be replaced; None where a command cannot.
        part: Share of the work that this process does, while others may write into the same folder.

    Yields:
        The folder to write to: `out`, or where a complete data set of other settings is replaced, a folder inside it,
        whose files move into `out` when the block ends and they have a manifest. Until then the earlier one is whole.

    Raises:
        UserError: The folder is a file, a source itself, in use, or holds something else.
    """
    for source in sources:
        if out.exists() and source.exists() and out.samefile(source):
            raise UserError('--out is the same folder as --source', fix='prepare into a folder of its own')
    claim_folder(out, continues=True)
    with locked(out, share='' if part is None else part.file_name):
        finish_inside(out)
        remove_leftovers_in(out)
        place = _place(out, settings, overwrite)
        write_json(place / SETTINGS_NAME, settings)
        yield place
        if place != out and (place / MANIFEST_NAME).is_file():
            # Where two parts are the last ones at once, the other may have moved it already.
            with contextlib.nullcontext() if part is None else contextlib.suppress(FileNotFoundError):
                move_in(declare_ready(place, out, last=MANIFEST_NAME), out)


def _place(out: Path, settings: dict[str, Any], overwrite: bool | None) -> Path:
    """Return the folder to write to, see `prepared_folder`."""
    earlier, complete = _settings_in(out), (out / MANIFEST_NAME).is_file()
    different = [] if earlier is None else _differing(earlier, settings)
    if not different and not (complete and earlier is None):
        return out
    if not overwrite:
        fix = 'name another --out folder'
        if overwrite is not None:
            fix += ', or add --overwrite to replace what is there'
        if earlier is None:
            raise UserError(f'{out} holds a {MANIFEST_NAME} that this program did not write', fix=fix)
        changes = '; '.join(f'{key}: {earlier.get(key)} there, {settings.get(key)} now' for key in different)
        raise UserError(f'{out} was prepared with other settings ({changes})', fix=fix)
    if not complete:
        return out
    place = out / REPLACEMENT_NAME
    begun = _settings_in(place)
    if begun is None or _differing(begun, settings):
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(exist_ok=True)
    return place


def _settings_in(folder: Path) -> dict[str, Any] | None:
    """Return the settings that a folder was prepared with; None without a record of them."""
    path = folder / SETTINGS_NAME
    if not path.is_file():
        return None
    try:
        settings = read_json(path)
    except UserError:
        settings = None
    # A damaged record counts as one without any setting.
    return settings if isinstance(settings, dict) else {}


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def count_subjects(outcomes: Iterable[Outcome], total: int, *, restored: Callable[[Outcome], bool]) -> list[Outcome]:
    """Collect the outcomes of all subjects, and show on standard error how far the preparation is.

    Args:
        outcomes: One for each subject as it is done, with its `problems`.
        total: Number of subjects.
        restored: Whether a subject had been prepared by an earlier run.

    Returns:
        All outcomes.
    """
    print(f'preparing {total} subjects', file=sys.stderr, flush=True)
    progress, results, problems = CountProgress('prepared', total, 'subjects'), [], 0
    for outcome in outcomes:
        results.append(outcome)
        problems += len(outcome.problems)
        progress.step(f'{problems} problems', restored=restored(outcome))
    return results


def report_problems(problems: Sequence[Problem], any_good: bool) -> int:
    """List what went wrong and return the exit status of the command.

    Args:
        problems: Subjects and label maps that were left out, and why.
        any_good: Whether any subject could be prepared.

    Returns:
        0 without problems, 2 otherwise.
    """
    if not problems:
        return 0
    count = '1 problem' if len(problems) == 1 else f'{len(problems)} problems'
    print(f'error: {count}; left out were:', file=sys.stderr)
    for problem in sorted(problems, key=lambda problem: problem.subject):
        print(f'  {problem.subject}: {problem.reason}', file=sys.stderr)
    if not any_good:
        print(f'no subject could be prepared, so no {MANIFEST_NAME} was written.', file=sys.stderr)
    return USER_ERROR_STATUS
