"""Pieces of work that take turns on the host, and whose programs the device runs for several of them at once.

A registration is a conversation: the host prepares a level, asks the device for some steps, looks at the loss, and asks
again. Many registrations in turn keep a device waiting that could do the steps of several pairs in the time of one.
Each piece of work gets a thread of its own, of which only one runs at any time; one that asks for a program waits until
all others do, and then those that ask for the same program with the same shapes are answered together. So nothing of
what runs has to know of it, nothing has to be safe for threads, and the order of everything is always the same.

Whoever calls `do_in_turns` goes round: it begins pieces until as many are begun as may be, lets each go on until it
asks for a program or ends, has one group of those that ask answered, and begins again.
"""

import contextvars
import operator
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import jax
import jax.numpy as jnp

Result = TypeVar('Result')
# What JAX says where a device has too little memory.
OUT_OF_MEMORY = 'RESOURCE_EXHAUSTED'


class Program(Protocol):
    """A program that can be computed for one or for several sets of arguments."""

    def key(self, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Return what two calls have in common that can be answered together, hashable."""

    def compute(self, arrays: tuple[Any, ...], static: dict[str, Any], *, batched: bool = False) -> Any:
        """Compute it; batched: for arrays that all have one axis more in front."""


class _GivenUpError(BaseException):
    """Unwinds a piece of work whose result nobody waits for any more. No `Exception`: nothing may catch it."""


class _Request:
    """One call of a program that waits for its answer."""

    def __init__(self, program: Program, arrays: tuple[Any, ...], static: dict[str, Any]):
        self.program, self.arrays, self.static = program, arrays, static
        self.key = (id(program), program.key(arrays, static))
        self.answer: Any = None
        self.error: Exception | None = None


class _Worker(Generic[Result]):
    """A thread that does one piece of work, whenever it is its turn.

    Attributes:
        place: Number of the piece, from 0.
        request: What it waits for; None: it can go on.
        result: What the piece returned.
        error: What the piece raised; None: nothing so far.
        ended: Whether the piece has returned or raised.
    """

    def __init__(self, work: Callable[[], Result], place: int):
        self.place = place
        self.request: _Request | None = None
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._work, self._given_up = work, False
        # One side always waits: the work for `_go`, or whoever gave it the turn for `_paused`.
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        # The work sees the context variables of its caller, and `_worker` besides.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """Let it go on until it asks for something or ends."""
        self._go.release()
        self._paused.acquire()

    def give_up(self) -> None:
        """Unwind it."""
        self._given_up = True
        while not self.ended:
            self.turn()
        self._thread.join()

    def ask(self, program: Program, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Wait for the answer of a program, in the thread of the work."""
        request = self.request = _Request(program, arrays, static)
        self._paused.release()
        self._go.acquire()
        if self._given_up:
            raise _GivenUpError
        if request.error is not None:
            raise request.error
        return request.answer

    def _run(self) -> None:
        _worker.set(self)
        self._go.acquire()
        try:
            if not self._given_up:
                self.result = self._work()
        except BaseException as error:  # noqa: BLE001  # raised again where the results are waited for
            self.error = error
        finally:
            self.ended = True
            self._paused.release()


_worker: contextvars.ContextVar[_Worker | None] = contextvars.ContextVar('worker', default=None)


def call_in_turn(program: Program, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
    """Compute a program: at once, or inside `do_in_turns` together with the same program of other pieces of work.

    Args:
        program: The program.
        arrays: Its arrays and trees of arrays.
        static: Its static arguments.

    Returns:
        Its result.

    Raises:
        Exception: What the program raises for these arguments alone, whatever those of other pieces make it raise.
    """
    worker = _worker.get()
    return program.compute(arrays, static) if worker is None else worker.ask(program, arrays, static)


def do_in_turns(work: Sequence[Callable[[], Result]], at_once: int) -> list[Result]:
    """Do pieces of work, several at once, so that their programs can run together.

    Where several ask for different things, the program that most of them ask for comes first, so that those that are
    ahead wait for the others.

    Args:
        work: The pieces, without arguments.
        at_once: How many are begun at a time, 1 or more: as many are in memory. 1: one after the other, here and now.

    Returns:
        Their results, in order.

    Raises:
        BaseException: What a piece raised first; the others are unwound.
    """
    if at_once < 1:
        raise ValueError(f'at_once is {at_once} and must be 1 or more.')
    if at_once == 1:
        return [one() for one in work]
    results: dict[int, Result] = {}
    waiting = deque(enumerate(work))
    workers: list[_Worker[Result]] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < at_once:
                place, one = waiting.popleft()
                workers.append(_Worker(one, place))
            for worker in [worker for worker in workers if worker.request is None]:
                worker.turn()
                if worker.error is not None:
                    raise worker.error
                if worker.ended:
                    results[worker.place] = worker.result
                    workers.remove(worker)
            # All that are left ask. Those that take the places of ended ones come first: they may ask for the same.
            if workers and not (waiting and len(workers) < at_once):
                _answer(_largest_group(workers))
        return [results[place] for place in range(len(work))]
    finally:
        for worker in workers:
            worker.give_up()


def _largest_group(workers: Sequence[_Worker]) -> list[_Worker]:
    """Those that ask for the same program, of the program that most ask for."""
    groups: dict[Any, list[_Worker]] = {}
    for worker in workers:
        groups.setdefault(worker.request.key, []).append(worker)
    return max(groups.values(), key=len)


def _answer(workers: Sequence[_Worker]) -> None:
    """Compute what workers ask for, which is the same program, and let them go on."""
    _compute([worker.request for worker in workers])
    for worker in workers:
        worker.request = None


def _compute(requests: Sequence[_Request]) -> None:
    """Answer requests for the same program, or give each the error that it has alone."""
    if len(requests) == 1:
        _compute_alone(requests[0])
        return
    for group in _compute_together(requests):
        _compute(group)


def _compute_alone(request: _Request) -> None:
    try:
        request.answer = request.program.compute(request.arrays, request.static)
    except Exception as error:  # noqa: BLE001  # raised again where the answer is waited for
        request.error = error


def _compute_together(requests: Sequence[_Request]) -> list[Sequence[_Request]]:
    """Answer requests by one program, or return the smaller groups to try where that fails: halves where memory is too
    small for all, and otherwise each alone, because the error may be that of one."""
    program, static = requests[0].program, requests[0].static
    try:
        answers = program.compute(_stacked([one.arrays for one in requests]), static, batched=True)
        parts = [jax.tree.map(operator.itemgetter(number), answers) for number in range(len(requests))]
    except Exception as error:  # noqa: BLE001  # whoever asked gets its own from the smaller groups
        # These are for the caller to try: until this error is dropped, it keeps the arrays in memory.
        if _is_out_of_memory(error):
            half = len(requests) // 2
            return [requests[:half], requests[half:]]
        return [[request] for request in requests]
    for request, part in zip(requests, parts, strict=True):
        request.answer = part
    return []


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the host or the device has too little memory."""
    on_device = isinstance(error, jax.errors.JaxRuntimeError) and OUT_OF_MEMORY in str(error)
    return on_device or isinstance(error, MemoryError)


def _stacked(arguments: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Trees of arrays as one, with an axis in front; the last is repeated up to a power of two, so that few programs
    are compiled."""
    size = 1 << (len(arguments) - 1).bit_length()
    filled = [*arguments, *[arguments[-1]] * (size - len(arguments))]
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *filled)
