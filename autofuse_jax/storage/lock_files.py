"""Files of locks: made whole or not at all, and read as what they say of their holder."""

import dataclasses
import datetime
import errno
import json
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from autofuse_jax.runtime import command_line
from autofuse_jax.storage.owners import Life, Owner, this_process
from autofuse_jax.storage.temporary import make_temporary_file

SHOWN_COMMAND = 120
# File systems without hard links say one of these.
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)


@dataclasses.dataclass(frozen=True)
class Holder:
    """What a lock says.

    Attributes:
        content: Its bytes, by which a lock is told from a later one of the same name.
        touched: Time of the last sign of life, nanoseconds by the clock of the file system.
    """

    content: bytes
    touched: int

    @property
    def record(self) -> dict[str, Any]:
        """The content as `lock_content` made it; empty where it is damaged."""
        try:
            record = json.loads(self.content)
        except (ValueError, RecursionError):
            # A process that was killed while it wrote, where links are not to be had, or a damaged file.
            return {}
        return record if isinstance(record, dict) else {}

    def life(self) -> Life:
        """Find out whether the process that the lock names still runs."""
        machine, process, started = (self.record.get(name) for name in ('machine', 'process', 'started'))
        # A damaged one tells of no process; True is an int.
        if isinstance(machine, str) and type(process) is int and isinstance(started, str):
            return Owner(machine, process, started).life()
        return Life.UNKNOWN

    def __str__(self) -> str:
        record = self.record
        if 'process' not in record:
            return 'a process that left no name'
        place = f'process {record["process"]} on {record.get("host")}, since {record.get("since")}'
        return f'"{record.get("command")}" ({place})'


def lock_content() -> bytes:
    """Return the content of a new lock of this process, like no other."""
    command = command_line()
    record = {
        **dataclasses.asdict(this_process()),
        'host': socket.gethostname(),
        'since': datetime.datetime.now().astimezone().isoformat(sep=' ', timespec='seconds'),
        'command': command if len(command) <= SHOWN_COMMAND else command[:SHOWN_COMMAND] + ' ...',
        # Two locks of one process differ.
        'nonce': secrets.token_hex(8),
    }
    return json.dumps(record).encode()


def create_lock(path: Path, content: bytes) -> bool:
    """Make a lock with its content, or return False where there is one already."""
    temporary = write_temporary(path, content)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        # An answer that got lost on the way from a file server is asked for again, and then the name exists.
        return temporary.stat().st_nlink == 2
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    finally:
        temporary.unlink(missing_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, 'wb') as file:
        file.write(content)
    return True


def write_temporary(path: Path, content: bytes) -> Path:
    """Write the content of a lock to a temporary file beside it, which is to become the lock."""
    # Those of claims are found where those of the lock are.
    temporary = make_temporary_file(path.with_name(path.name.partition('~')[0]))
    try:
        temporary.write_bytes(content)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def read_lock(path: Path) -> Holder | None:
    """Return what a lock says now: opening a file makes a file server tell the truth. None where there is none."""
    try:
        with path.open('rb') as file:
            return Holder(file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None
