import os
import signal
import threading
import types

import pytest

from autofuse_jax.training.stopping import Ending, StopRequest


@pytest.fixture
def received():
    """Signals that reach the handlers which a program had installed before the context."""
    numbers = []
    previous = {
        number: signal.signal(number, lambda received, frame: numbers.append(received))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    yield numbers
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr('autofuse_jax.training.stopping.time', types.SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_first_signal_asks_and_the_second_has_its_usual_effect(received, number):
    with StopRequest() as stop:
        assert stop.reason is None and stop.ending is not Ending.SIGNAL
        os.kill(os.getpid(), number)
        assert stop.reason == f'received {signal.Signals(number).name}'
        assert stop.ending is Ending.SIGNAL
        assert received == []
        os.kill(os.getpid(), number)
        assert received == [number]


def test_handlers_are_restored(received):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopRequest():
        during = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        assert all(one is not other for one, other in zip(before, during, strict=True))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]


def test_handlers_are_restored_after_an_error(received):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match='broken'), StopRequest():
        raise RuntimeError('broken')
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def python_handler():
    """Python's own handler of interrupts, which a shell takes away from what it starts in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures('python_handler')
def test_second_interrupt_from_the_keyboard_ends_the_program():
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.ending is Ending.SIGNAL
        os.kill(os.getpid(), signal.SIGINT)


def test_time_budget_counts_from_the_start_of_the_context(clock):
    request = StopRequest(max_minutes=2.5)
    clock.seconds += 1000
    with request as stop:
        assert stop.reason is None
        clock.seconds += 149
        assert stop.reason is None
        clock.seconds += 1  # 2.5 minutes
        assert stop.reason == 'the time budget of 2.5 minutes is used up'
        assert stop.ending is not Ending.SIGNAL


def test_signal_comes_before_the_time_budget(clock, received):
    with StopRequest(max_minutes=1) as stop:
        clock.seconds += 100
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == 'received SIGTERM'


def test_without_a_budget_time_does_not_matter(clock):
    with StopRequest() as stop:
        clock.seconds += 1e9
        assert stop.reason is None


def test_outside_the_main_thread_signals_keep_their_effect(received):
    seen = []

    def work():
        with StopRequest(max_minutes=1) as stop:
            seen.append(stop.reason)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
    assert signal.getsignal(signal.SIGTERM) is before
