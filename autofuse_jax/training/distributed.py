"""Training in several processes: joining them, who writes, and what they must agree on."""

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from autofuse_jax.choices import JOIN_SECONDS
from autofuse_jax.errors import USER_ERROR_STATUS, UserError

Result = TypeVar('Result')

# JAX ends the process with a stack trace where it waits in vain; ours, with a message, must come first.
JAX_WAITS_LONGER = 30


def join_processes(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    timeout: int = JOIN_SECONDS,
) -> None:
    """Join the processes of a run; before anything else asks for devices.

    What is not given is found out by JAX, which knows SLURM, Kubernetes, Open MPI and TPU pods.

    Args:
        coordinator: host:port of the first process.
        processes: Number of processes.
        process: Number of this one, from 0.
        timeout: Seconds to wait for the others; default 300.

    Raises:
        UserError: There is no cluster that JAX knows and the three are not given. Where the others do not answer in
            time, the process ends with a message: JAX cannot be asked to return.
    """
    waiting = UserError(
        f'the processes of this run did not all answer within {timeout} s'
        + (f' (process {process} of {processes}, coordinator {coordinator})' if coordinator else ''),
        expected='process 0 at the address of the coordinator, and all others started',
        fix='check address, port and firewall, start all processes, or give more time with --timeout',
    )
    watch = threading.Timer(timeout, _give_up, [waiting])
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(coordinator, processes, process, initialization_timeout=timeout + JAX_WAITS_LONGER)
    except (ValueError, TypeError) as error:
        raise UserError(
            f'this process cannot join others: {(str(error).splitlines() or [type(error).__name__])[0]}',
            expected='a cluster that JAX knows (SLURM, Kubernetes, Open MPI, TPU), or all three of the flags',
            fix='give --coordinator=HOST:PORT --processes=N --process=I, or leave out --distributed',
        ) from error
    finally:
        watch.cancel()


def _give_up(error: UserError) -> None:
    print(f'error: {error}', file=sys.stderr, flush=True)
    # Nothing has been opened or written yet.
    os._exit(USER_ERROR_STATUS)


def is_first() -> bool:
    """Whether this process writes what is written once."""
    return jax.process_index() == 0


def first_process_first(make: Callable[[], Result]) -> Result:
    """Call a function that may write files on the first process, then, when it is done, on the others.

    Args:
        make: Function that is called once on each process.

    Returns:
        Its result on this process.
    """
    if jax.process_count() == 1:
        return make()
    if is_first():
        result = make()
    multihost_utils.sync_global_devices('first process first')
    return result if is_first() else make()


def largest_of_all(number: int) -> int:
    """Return the largest of the numbers that the processes have; all must call this together, and it waits for them."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.asarray(number)).max())
