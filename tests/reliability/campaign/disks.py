"""Disks that are full and folders that may not be written: one line says so, nothing is lost, and later all is well."""

import contextlib
import functools
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.reliability.campaign.contents import bytes_of, files_of, leftovers_of
from tests.reliability.campaign.kills import check_again, prepared
from tests.reliability.campaign.outcomes import LOST, Trial, trial
from tests.reliability.campaign.processes import limit_files, obey_permissions
from tests.reliability.campaign.stage import Job, Stage

KIND = 'disks'
USER_ERROR = 2
# Files of at most so many bytes are written by every command: locks, and what it prints, which goes to a file here.
SMALLEST_LIMIT = 4096
# Bytes of the small disk that are free when a command starts, at least.
SMALLEST_DISK = 64 * 1024


def fill_disks(stage: Stage, names: Sequence[str], each: int, rng: random.Random) -> list[Trial]:
    """Let commands write to a disk that is full, so many times each, and once to folders that may not be written.

    Args:
        stage: The stage.
        names: Names of the jobs.
        each: Number of full disks for each, by a limit of the size of files and, for root, by a small disk.
        rng: Source of the sizes.

    Returns:
        The trials.
    """
    trials: list[Trial] = []
    for name in names:
        job = stage.jobs()[name]
        for number in range(each):
            with trial(trials, KIND, f'{name}, full disk') as one:
                if number % 2 and can_mount():
                    _small_disk(stage, job, one, rng)
                else:
                    _limited_files(stage, job, one, rng)
        for refuse in (_read_only, _below_a_file):
            with trial(trials, KIND, f'{name}, {refuse.__name__.strip("_").replace("_", " ")}') as one:
                refuse(stage, job, one)
    return trials


def _limited_files(stage: Stage, job: Job, one: Trial, rng: random.Random) -> None:
    folder = prepared(stage, job)
    reference = prepared(stage, job)
    stage.run(job.command(reference / 'out'))
    largest = max(path.stat().st_size for path in files_of(reference / 'out'))
    limit = rng.randrange(SMALLEST_LIMIT, max(largest, SMALLEST_LIMIT + 1))
    one.about = f'no file beyond {limit} of {largest} bytes'
    earlier = bytes_of(folder / 'out')
    running = stage.start(job.command(folder / 'out'), functools.partial(limit_files, limit))
    status = running.end()
    one.read_output(running.text)
    # What fits succeeds.
    if status != 0 or limit < largest:
        _check_refusal(job, one, folder, earlier, status, running.text)
        check_again(stage, job, one, folder / 'out', stage.facts(job))
    shutil.rmtree(folder)
    shutil.rmtree(reference)


@functools.cache
def can_mount() -> bool:
    """Tell whether this user may make a small disk in memory."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError), small_disk(Path('/mnt'), SMALLEST_DISK):
        return True
    return False


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Let a folder be a disk of so many bytes."""
    command = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'none', str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True, capture_output=True)


def _small_disk(stage: Stage, job: Job, one: Trial, rng: random.Random) -> None:
    reference = prepared(stage, job)
    earlier_size = _size(reference)
    stage.run(job.command(reference / 'out'))
    size = earlier_size + SMALLEST_DISK + rng.randrange(max(_size(reference), 1))
    one.about = f'a disk of {size} bytes, of which earlier results take {earlier_size}'
    folder = stage.folder(job.name)
    with small_disk(folder, size):
        if job.earlier is not None:
            stage.run(job.earlier(folder / 'out'))
        earlier = bytes_of(folder / 'out')
        running = stage.start(job.command(folder / 'out'))
        status = running.end()
        one.read_output(running.text)
        # What fits succeeds.
        if status != 0:
            _check_refusal(job, one, folder, earlier, status, running.text)
            subprocess.run(['mount', '-o', 'remount,size=64m', str(folder)], check=True, capture_output=True)
            check_again(stage, job, one, folder / 'out', stage.facts(job))
    shutil.rmtree(folder)
    shutil.rmtree(reference)


def _size(folder: Path) -> int:
    # A disk in memory gives whole pages.
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files_of(folder))


def _read_only(stage: Stage, job: Job, one: Trial) -> None:
    folder = prepared(stage, job)
    places = [folder, *(path for path in folder.rglob('*') if path.is_dir())]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in places}
    for path in places:
        path.chmod(0o555)
    earlier = bytes_of(folder / 'out')
    running = stage.start(job.command(folder / 'out'), obey_permissions)
    status = running.end()
    for path, mode in modes.items():
        path.chmod(mode)
    one.read_output(running.text)
    _check_refusal(job, one, folder, earlier, status, running.text)
    check_again(stage, job, one, folder / 'out', stage.facts(job))
    shutil.rmtree(folder)


def _below_a_file(stage: Stage, job: Job, one: Trial) -> None:
    folder = stage.folder(job.name)
    (folder / 'file').write_text('no folder')
    running = stage.start(job.command(folder / 'file' / 'out'))
    status = running.end()
    one.read_output(running.text)
    one.expect(status == USER_ERROR and 'error: ' in running.text, LOST, f'ended with {status}: {running.text}')
    one.expect(os.listdir(folder) == ['file'], LOST, f'made {os.listdir(folder)}')
    shutil.rmtree(folder)


def _check_refusal(job: Job, one: Trial, folder: Path, earlier: dict[str, str], status: int, text: str) -> None:
    told = status == USER_ERROR and sum(line.startswith('error: ') for line in text.splitlines()) == 1
    one.expect(told, LOST, f'ended with {status}: {text}')
    now = bytes_of(folder / 'out')
    # What adds keeps what it has done.
    kept = earlier.items() <= now.items() if job.adds else now == earlier
    one.expect(kept, LOST, f'earlier results are not as they were: {sorted(earlier)}, now {sorted(now)}')
    left = leftovers_of(folder)
    one.expect(not left, LOST, f'left over: {left}')
