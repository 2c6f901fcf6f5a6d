"""Parts of a run with a time budget each: one that fails or runs out of time loses itself alone."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.files import replacing, write_json

SECONDS_PER_MINUTE = 60.0
# From the request to end until the end by force: training writes a checkpoint in between.
GRACE_SECONDS = 20.0
# What a part that did not end well leaves is kept under a name of its own, so that the part is not taken for done.
PARTIAL = 'partial_'
RECORD_NAME = 'run.json'
# Lines of a failed part's output that are shown at once.
SHOWN_LINES = 12
DONE, SKIPPED, FAILED, OUT_OF_TIME, NOT_STARTED = 'done', 'skipped', 'failed', 'out of time', 'not started'


@dataclasses.dataclass(frozen=True)
class Part:
    """Something that is done with a time budget.

    Attributes:
        name: Name of the part.
        minutes: Most time that it gets.
        least_minutes: Time without which it is not started, and that the parts before it leave for it.
        commands: Returns the commands, carried out one after the other, for the minutes that were granted.
        results: File that the commands write to the name under which it is kept; the first is the part's record.
    """

    name: str
    minutes: float
    least_minutes: float
    commands: Callable[[float], Sequence[Sequence[str]]]
    results: Mapping[Path, str]


def granted_minutes(part: Part, later: Sequence[Part], remaining: float) -> float:
    """Return the minutes that a part may take: `min(its own, remaining - what all later ones need at least)`.

    Args:
        part: Which.
        later: Parts after it that are still to be done.
        remaining: Minutes until all must be over.

    Returns:
        0 where that is less than the part needs.
    """
    free = min(part.minutes, remaining - sum(other.least_minutes for other in later))
    return free if free >= part.least_minutes else 0.0


def carry_out(
    parts: Sequence[Part],
    out: Path,
    minutes: float,
    *,
    environment: Mapping[str, str],
    about: Mapping[str, Any],
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Carry out parts in their order; results and the record of the run are written after each.

    Args:
        parts: In order. One whose record is there from an earlier run is skipped.
        out: Folder of the results, and of what the parts print.
        minutes: Time of all parts together.
        environment: Variables of the commands.
        about: What the record of the run begins with.
        clock: Returns seconds; default that of this machine.

    Returns:
        Whether all parts are done.
    """
    end = clock() + SECONDS_PER_MINUTE * minutes
    # How parts ended in earlier runs stays in the record.
    ended, complete = _ended_before(out), True
    waiting = [part for part in parts if not is_done(part, out)]
    for part in parts:
        if part not in waiting:
            print(f'== {part.name}: {SKIPPED}', flush=True)
            continue
        waiting.remove(part)
        granted = granted_minutes(part, waiting, (end - clock()) / SECONDS_PER_MINUTE)
        started = clock()
        print(f'== {part.name}: {granted:.1f} minutes', flush=True)
        status = run_part(part, granted, out, environment) if granted else NOT_STARTED
        seconds = round(clock() - started, 1)
        print(f'== {part.name}: {status} after {seconds:g} s', flush=True)
        complete &= status == DONE
        ended[part.name] = {'status': status, 'seconds': seconds}
        write_json(out / RECORD_NAME, {**about, 'parts': ended})
    return complete


def _ended_before(out: Path) -> dict[str, Any]:
    record = out / RECORD_NAME
    return json.loads(record.read_text(encoding='utf-8'))['parts'] if record.is_file() else {}


def is_done(part: Part, out: Path) -> bool:
    """Return whether the record of a part is there."""
    return (out / next(iter(part.results.values()))).is_file()


def run_part(part: Part, minutes: float, out: Path, environment: Mapping[str, str]) -> str:
    """Carry out a part and keep its results.

    Args:
        part: Which.
        minutes: Its time.
        out: Folder of the results; what the commands print goes to logs/NAME.log in it.
        environment: Variables of the commands.

    Returns:
        How it ended.
    """
    deadline = time.monotonic() + SECONDS_PER_MINUTE * minutes
    log = out / 'logs' / f'{part.name}.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    status = DONE
    with log.open('ab') as output:
        for command in part.commands(minutes):
            status = _run_command(command, deadline, output, environment)
            if status != DONE:
                break
    if status == DONE and not next(iter(part.results)).is_file():
        status = FAILED
    for source, name in part.results.items():
        if source.is_file():
            with replacing(out / (name if status == DONE else PARTIAL + name)) as temporary:
                shutil.copyfile(source, temporary)
            if status == DONE:
                (out / (PARTIAL + name)).unlink(missing_ok=True)
    if status != DONE:
        print(''.join(log.read_text(errors='replace').splitlines(keepends=True)[-SHOWN_LINES:]), flush=True)
    return status


def _run_command(command: Sequence[str], deadline: float, output: Any, environment: Mapping[str, str]) -> str:
    """Run a command until a time; it and all that it started are asked to end then, and forced to soon after."""
    output.write(f'$ {" ".join(command)}\n'.encode())
    output.flush()
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
    )
    try:
        return DONE if process.wait(max(deadline - time.monotonic(), 0.0)) == 0 else FAILED
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            output.write(b'ended by force\n')
        return OUT_OF_TIME
    finally:
        # Whatever it started, and itself where this program is asked to end.
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        # All have ended already.
        return
