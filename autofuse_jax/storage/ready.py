"""Complete results that wait in the folder that they belong into, under a name that says so, and move in one by one.

A process that ends meanwhile loses nothing: the next one carries on.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.records.forms import Entries, Fields, Text
from autofuse_jax.records.paths import INSIDE
from autofuse_jax.records.reading import read_json
from autofuse_jax.storage.locks import locked
from autofuse_jax.storage.temporary import READY_PREFIX, is_left_over, leftovers_of, temporary_path

# File among results that are ready: which is last, and which earlier ones go.
PLAN_NAME = '.plan.json'
# A folder of results may come from others, and with it what claims to wait there. Results that appear together in
# several folders wait for those of the first one, which names them all and moves last: they count once it is ready.
PLAN = Fields({'last': INSIDE, 'removed': Entries(INSIDE)}, {'first': Text(), 'others': Entries(Text())})


def declare_ready(temporary: Path, folder: Path, last: str, removed: Collection[str] = ()) -> Path:
    """Give complete results inside a folder the name under which `finish_inside` finds them.

    Args:
        temporary: Temporary folder of the results, on the same disk.
        folder: Folder that they belong into.
        last: Name of the file that moves last.
        removed: Names of earlier files that go.

    Returns:
        The folder under its new name.
    """
    ready = temporary_path(folder, READY_PREFIX, folder)
    _declare(temporary, ready, {'last': last, 'removed': list(removed)})
    return ready


def publish_together(results: Mapping[Path, tuple[Path, str]]) -> None:
    """Move complete results into several folders, all or none, also where the process ends meanwhile.

    Args:
        results: Temporary folder, on the same disk, and name of the file that moves last, by the resolved folder that
            the results belong into. None are an error.
    """
    ready = {folder: temporary_path(folder, READY_PREFIX, folder) for folder in results}
    first, *others = results
    for folder in others:
        temporary, last = results[folder]
        _declare(temporary, ready[folder], {'last': last, 'removed': [], 'first': str(ready[first])})
    temporary, last = results[first]
    waiting = [str(ready[folder]) for folder in others]
    _declare(temporary, ready[first], {'last': last, 'removed': [], 'others': waiting})
    for folder in (*others, first):
        move_in(ready[folder], folder)


def _declare(temporary: Path, ready: Path, plan: dict[str, Any]) -> None:
    (temporary / PLAN_NAME).write_text(json.dumps(plan), encoding='utf-8')
    os.rename(temporary, ready)


def finish_inside(folder: Path) -> None:
    """Move results of ended processes in that wait in a folder, complete, for that.

    Raises:
        UserError: What waits there says of itself what this program does not write.
    """
    for ready in leftovers_of(folder, READY_PREFIX, folder):
        if ready.is_dir() and not ready.is_symlink():
            _finish_together(ready, folder)


def _finish_together(ready: Path, folder: Path) -> None:
    """Move results in, after those that wait for them elsewhere; remove those whose first never was complete."""
    plan = _read_plan(ready)
    if plan is not None and 'first' in plan and not Path(plan['first']).is_dir():
        shutil.rmtree(ready)
        return
    for other in map(Path, [] if plan is None else plan.get('others', [])):
        # Only what says so of itself belongs to these: their plan may come from others, too.
        theirs = _read_plan(other) if _waits(other) else None
        if theirs is not None and theirs.get('first') == str(ready):
            with locked(other.parent):
                move_in(other, other.parent)
    move_in(ready, folder)


def _waits(ready: Path) -> bool:
    return ready.name.startswith(READY_PREFIX) and ready.is_dir() and not ready.is_symlink() and is_left_over(ready)


def move_in(ready: Path, folder: Path) -> None:
    """Move complete results to their places; may be repeated after any part of it.

    Args:
        ready: What `declare_ready` returned.
        folder: Folder that they belong into.

    Raises:
        UserError: The plan in it is damaged, or names files outside the folder.
    """
    plan = _read_plan(ready)
    if plan is None:
        # All had moved; the process ended while it removed the empty folders.
        shutil.rmtree(ready)
        return
    files = sorted(path.relative_to(ready) for path in ready.rglob('*') if not path.is_dir())
    files = [file for file in files if file != Path(PLAN_NAME)]
    if Path(plan['last']) in files:
        # Whoever finds the last one finds all of them.
        (folder / plan['last']).unlink(missing_ok=True)
        for path in paths_inside(folder, [folder / name for name in plan['removed']]):
            path.unlink(missing_ok=True)
    for file in sorted(files, key=lambda file: file == Path(plan['last'])):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(ready / file, folder / file)
    shutil.rmtree(ready)


def _read_plan(ready: Path) -> dict[str, Any] | None:
    if not (ready / PLAN_NAME).exists():
        return None
    fix = f'look at {ready} and remove it, then run the command again'
    return read_json(ready / PLAN_NAME, PLAN, kind='the plan of results that were not moved to their places,', fix=fix)


def paths_inside(folder: Path, paths: Collection[Path]) -> set[Path]:
    """Return paths below a resolved folder, where links among them stand for themselves."""
    inside = {path.parent.resolve() / path.name for path in paths}
    return {path for path in inside if folder in path.parents}
