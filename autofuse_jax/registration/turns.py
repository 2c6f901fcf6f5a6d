"""Pieces of work that take turns on the host, and whose programs the device runs for several of them at once.

A registration is a conversation: the host prepares a level, asks the device for some steps, looks at the loss, and asks
again. Many registrations in turn keep a device waiting that could do the steps of several pairs in the time of one.
Each piece of work gets a thread of its own, of which only one runs at any time; one that asks for a program waits until
all others do, and then those that ask for the same program with the same shapes are answered together. So nothing of
what runs has to know of it, nothing has to be safe for threads, and the order of everything is always the same.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
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
    """A thread that does one piece of work, whenever it is its turn."""

    def __init__(self, work: Callable[[], Result], place: int):
        self.place = place
        self.request: _Request | None = None
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._work, self._given_up = work, False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
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
    waiting = iter(enumerate(work))
    workers: list[_Worker[Result]] = []
    try:
        while True:
            workers += [_Worker(one, place) for place, one in _first(waiting, at_once - len(workers))]
            if not workers:
                return [results[place] for place in range(len(work))]
            for worker in [worker for worker in workers if worker.request is None]:
                worker.turn()
                if worker.error is not None:
                    raise worker.error
                if worker.ended:
                    results[worker.place] = worker.result  # type: ignore[assignment]  # it ended without an error
                    workers.remove(worker)
            if len(workers) < at_once and len(results) + len(workers) < len(work):
                continue
            _answer(_largest_group([worker for worker in workers if worker.request is not None]))
    finally:
        for worker in workers:
            worker.give_up()


def _first(items: Iterator, count: int) -> list:
    return [item for _, item in zip(range(count), items, strict=False)]


def _largest_group(workers: Sequence[_Worker]) -> list[_Worker]:
    groups: dict[Any, list[_Worker]] = {}
    for worker in workers:
        groups.setdefault(worker.request.key, []).append(worker)  # type: ignore[union-attr]  # all of them ask
    return max(groups.values(), key=len, default=[])


def _answer(workers: Sequence[_Worker]) -> None:
    """Compute what workers ask for, which is the same program, and let them go on."""
    requests = [worker.request for worker in workers if worker.request is not None]
    if requests:
        _compute(requests)
    for worker in workers:
        worker.request = None


def _compute(requests: Sequence[_Request]) -> None:
    first = requests[0]
    try:
        if len(requests) == 1:
            first.answer = first.program.compute(first.arrays, first.static)
            return
        answers = first.program.compute(_stacked([one.arrays for one in requests]), first.static, batched=True)
    except jax.errors.JaxRuntimeError as error:
        if OUT_OF_MEMORY not in str(error) or len(requests) == 1:
            for request in requests:
                request.error = error
            return
    else:
        for number, request in enumerate(requests):
            request.answer = jax.tree.map(lambda leaf, number=number: leaf[number], answers)
        return
    # What does not fit into the memory of the device together may do so apart.
    half = len(requests) // 2
    _compute(requests[:half])
    _compute(requests[half:])


def _stacked(arguments: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Trees of arrays as one, with an axis in front; the last is repeated up to a power of two, so that few programs
    are compiled."""
    size = 1 << (len(arguments) - 1).bit_length()
    filled = [*arguments, *[arguments[-1]] * (size - len(arguments))]
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *filled)
