"""The process of a program: its command and share of the work, its cores and memory, its cache of compiled programs.

jax is imported inside the functions that need it: preparing data and the help of a command do without.
"""

import dataclasses
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

COMPILATION_CACHE = '~/.cache/autofuse_jax/xla'
# Compiling what takes less than this is faster than reading it from disk.
CACHED_SECONDS = 0.3
# Each compiled program maps some hundred pieces of memory; a process that needs more than Linux allows is ended. Above
# this share of what is allowed, programs are dropped.
LARGEST_SHARE_OF_MAPS = 0.5
PROCESS_MAPS, MOST_MAPS = Path('/proc/self/maps'), Path('/proc/sys/vm/max_map_count')

Item = TypeVar('Item')


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several shares of the work, for the jobs of a cluster.

    Attributes:
        number: Number of this share, from 1.
        count: Number of shares.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f'{self.number}/{self.count}'

    @property
    def file_name(self) -> str:
        """The share in names of files."""
        return f'{self.number}-of-{self.count}'

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items of this share: every count-th, so that shares of an ordered list are alike."""
        return items[self.number - 1 :: self.count]


def command_line() -> str:
    """Return the command that started this process, as it is typed: 'python -m MODULE ...' or 'PROGRAM ...'."""
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    if spec is not None:
        program = ['python', '-m', spec.name.removesuffix('.__main__')]
    else:
        script = sys.argv[0] if sys.argv else ''
        # A program of an environment, a file, or empty where Python runs text or asks for it.
        installed = script and Path(script).suffix in ('', '.exe')
        program = [Path(script).stem] if installed else ['python', script]
    return shlex.join([*filter(None, program), *sys.argv[1:]])


def available_cores() -> int:
    """Return how many cores this process may use: fewer than the machine has where a cluster gave it a share."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_bytes() -> int:
    """Return the memory that this process may have, in bytes: that of the machine, or less in a container.

    Returns:
        The bytes; 0 where the system does not say it (Windows).
    """
    if not hasattr(os, 'sysconf'):
        return 0
    return int(min(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'), container_bytes()))


def container_bytes(groups: Path = Path('/proc/self/cgroup'), root: Path = Path('/sys/fs/cgroup')) -> int | float:
    """Return the smallest limit of memory that Linux sets to the control groups of this process (containers, jobs).

    Args:
        groups: File with the process's groups, lines 'number:controllers:path'; version 2 has no controllers.
        root: Folder where groups are described.

    Returns:
        Bytes; infinite where there is no limit.
    """
    limits: list[float] = [math.inf]
    lines = groups.read_text(errors='replace').splitlines() if groups.is_file() else []
    for _, controllers, place in (line.split(':', 2) for line in lines if line.count(':') >= 2):
        if controllers and 'memory' not in controllers.split(','):
            continue
        top, name = (root / 'memory', 'memory.limit_in_bytes') if controllers else (root, 'memory.max')
        # A group's own limit and those around it count; inside a container its own group is the top one.
        folder = top / place.strip('/')
        for around in (folder, *folder.parents):
            if around.is_relative_to(top) and os.path.isfile(around / name):
                text = (around / name).read_text(errors='replace').strip()
                limits += [int(text)] if text.isdecimal() else []
    return min(limits)


def device_bytes() -> int:
    """Return the memory of a device or, on CPU, of the machine shared by its simulated devices."""
    import jax

    limit = (jax.local_devices()[0].memory_stats() or {}).get('bytes_limit')
    return limit or machine_bytes() // jax.local_device_count()


def keep_compiled_programs(folder: str) -> None:
    """Keep compiled programs in a folder, so that only the first run of a size waits for the compiler.

    Args:
        folder: Folder that keeps them; '~' is the user's home. Empty: nowhere.
    """
    import jax

    if folder:
        jax.config.update('jax_compilation_cache_dir', os.path.expanduser(folder))


def enable_compilation_cache() -> None:
    """Keep compiled programs in `COMPILATION_CACHE`, unless another place has been chosen."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]  # jax adds options at run time
        keep_compiled_programs(COMPILATION_CACHE)
        jax.config.update('jax_persistent_cache_min_compile_time_secs', CACHED_SECONDS)


def drop_programs_if_many() -> bool:
    """Drop what has been compiled in this process, where its mapped pieces of memory come near what Linux allows.

    An image of a new size maps about 2,000 pieces and 100 MB; without this, a loop over 40 sizes ends the process. What
    is needed again comes from the compilation cache. Elsewhere, where there is no such limit, nothing is dropped.

    Returns:
        Whether it was dropped.
    """
    import jax

    if not (PROCESS_MAPS.is_file() and MOST_MAPS.is_file()):
        return False
    with PROCESS_MAPS.open('rb') as lines:
        maps = sum(1 for _ in lines)
    if maps <= LARGEST_SHARE_OF_MAPS * int(MOST_MAPS.read_text()):
        return False
    jax.clear_caches()
    return True
