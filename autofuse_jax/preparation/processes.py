"""Running one function over many items in several processes that end cleanly with the program that started them."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from autofuse_jax.errors import UserError

Item = TypeVar('Item')
Result = TypeVar('Result')


def run_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[Result, None, None]:
    """Yield function(item) for all items as they finish, in any order.

    Closing the iterator early lets the items that are being worked on finish and drops the others.

    Args:
        function: A function of a module, so that it can be found by name in another process.
        items: Its arguments; they and the results are copied between processes.
        workers: Number of processes; with 1 everything happens in the calling process.

    Yields:
        The results.

    Raises:
        UserError: A process was ended from outside, as happens when memory runs out.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    # 'spawn' starts clean processes: nothing that the calling program holds (threads, devices) is copied into them.
    context = multiprocessing.get_context('spawn')
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        futures = [pool.submit(function, item) for item in items]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError(
            'a working process ended abruptly, probably for lack of memory',
            fix='run the same command again with fewer --workers; finished files are kept',
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Without this a worker would wait for work for ever after its parent was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
