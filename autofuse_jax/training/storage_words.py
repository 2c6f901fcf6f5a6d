"""What the storage layer below Orbax says of an error, kept to one line."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterator

Filter = Callable[[logging.LogRecord], bool]
# Name of the logger that Orbax writes to, and how the storage layer below it repeats what the system said.
STORAGE_LOGGER = 'absl'
SYSTEM_ERROR = re.compile(r': ([^:\[\]]+) \[os_error_code')


@contextlib.contextmanager
def quiet_storage() -> Iterator[None]:
    """Keep what the storage layer logs of an error, or of what it leaves undone after one, to itself where the error is
    raised, too, and told in one line."""
    records: list[logging.LogRecord] = []

    def hold_back(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            records.append(record)
        return record.levelno < logging.WARNING

    logger = logging.getLogger(STORAGE_LOGGER)
    logger.addFilter(hold_back)
    try:
        yield
    except (ValueError, RuntimeError, OSError):
        # Other threads of the same save may be about to fail of the same cause, so that the filter stays.
        raise
    except BaseException:
        _let_through(logger, hold_back, records)
        raise
    _let_through(logger, hold_back, records)


def _let_through(logger: logging.Logger, hold_back: Filter, records: list[logging.LogRecord]) -> None:
    logger.removeFilter(hold_back)
    for record in records:
        logger.handle(record)


def cause_of(error: Exception) -> str:
    """Return what the operating system says where the storage layer repeats it, or else the first line of an error."""
    match = SYSTEM_ERROR.search(str(error))
    return match[1] if match else first_line(error)


def first_line(error: Exception) -> str:
    """Return the first line of an error, or what kind it is where it says nothing."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
