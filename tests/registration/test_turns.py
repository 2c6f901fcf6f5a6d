"""Pieces of work in turns: the same results, programs computed together, and nothing left running when one fails."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.registration.kept_programs import KeptProgram
from autofuse_jax.registration.minimise import Schedule, minimise
from autofuse_jax.registration.turns import call_in_turn, do_in_turns


class Squares:
    """A program that squares, fails for too many at once, and records for how many it squared."""

    def __init__(self, most=100, kind=jax.errors.JaxRuntimeError, words='RESOURCE_EXHAUSTED: out of memory'):
        self.calls, self._most, self._kind, self._words = [], most, kind, words

    def key(self, arrays, static):
        return jnp.shape(arrays[0]), tuple(static.items())

    def fails(self, arrays, count):
        return count > self._most

    def compute(self, arrays, static, *, batched=False):
        count = len(arrays[0]) if batched else 1
        if self.fails(arrays, count):
            raise self._kind(self._words)
        self.calls.append(count)
        return arrays[0] ** 2


class Roots(Squares):
    """One that fails where there is a negative number."""

    def fails(self, arrays, count):
        return bool(np.any(np.asarray(arrays[0]) < 0))


def power(program, value, times, size=()):
    """Square a value so many times."""
    value = np.full(size, value, np.float64)
    for _ in range(times):
        value = np.asarray(call_in_turn(program, (value,), {}))
    return value


def test_alone_a_program_is_computed_at_once():
    program = Squares()
    assert power(program, 2.0, 3) == 256 and program.calls == [1, 1, 1]


def test_results_are_those_of_one_after_the_other_and_programs_run_together():
    program = Squares()
    results = do_in_turns([lambda n=n: power(program, n, 2) for n in range(4)], 4)
    np.testing.assert_allclose(results, [0, 1, 16, 81])
    assert program.calls == [4, 4]


def test_no_more_than_asked_for_are_begun_and_the_next_take_the_places_of_those_that_end():
    program, begun = Squares(), []

    def work(number):
        begun.append(number)
        return power(program, 2.0, number)

    assert do_in_turns([lambda n=n: work(n) for n in (1, 3, 1, 1)], 2) == [4, 256, 4, 4]
    assert begun == [1, 3, 1, 1] and program.calls == [2, 2, 2]


def test_three_are_filled_up_to_four_so_that_few_programs_are_compiled():
    program = Squares()
    np.testing.assert_allclose(do_in_turns([lambda n=n: power(program, n, 1) for n in range(3)], 3), [0, 1, 4])
    assert program.calls == [4]


def test_other_shapes_are_computed_apart_and_those_ahead_wait_for_the_others():
    program = Squares()

    def work(first):
        power(program, 2.0, first, size=(2,))
        return power(program, 3.0, 1, size=(3,))

    results = do_in_turns([lambda: work(1), lambda: work(2), lambda: work(2)], 3)
    np.testing.assert_allclose(results, np.full((3, 3), 9.0))
    # All do the first, two the second, and then all three together the last.
    assert program.calls == [4, 2, 4]


def test_what_does_not_fit_into_memory_together_is_computed_apart():
    program = Squares(most=2)
    np.testing.assert_allclose(do_in_turns([lambda n=n: power(program, n, 1) for n in range(4)], 4), [0, 1, 4, 9])
    assert program.calls == [2, 2]
    with pytest.raises(jax.errors.JaxRuntimeError, match='RESOURCE_EXHAUSTED'):
        do_in_turns([lambda: power(Squares(most=0), 1.0, 1)], 1)


FAILURES = [
    (jax.errors.JaxRuntimeError, 'INTERNAL: something broke'),
    (FloatingPointError, 'invalid value'),
    (ValueError, 'shapes differ'),
]
SHORTAGES = [(jax.errors.JaxRuntimeError, 'RESOURCE_EXHAUSTED: out of memory'), (MemoryError, 'for an array')]


@pytest.mark.parametrize(('kind', 'words'), FAILURES + SHORTAGES)
@pytest.mark.parametrize('at_once', [2, 5])
def test_an_error_reaches_the_piece_whose_it_is_and_no_other(kind, words, at_once):
    def work(value):
        try:
            return float(power(program, value, 1))
        except kind as error:
            return str(error)

    program = Roots(kind=kind, words=words)
    results = do_in_turns([lambda value=value: work(value) for value in (0.0, 1.0, -1.0, 3.0, 4.0)], at_once)
    assert results == [0, 1, words, 9, 16]


def test_pieces_that_fail_together_have_each_an_error_of_its_own():
    def work():
        with pytest.raises(ValueError, match='shapes differ') as caught:
            power(program, 2.0, 1)
        return caught.value

    program = Squares(most=0, kind=ValueError, words='shapes differ')
    first, second = do_in_turns([work, work], 2)
    assert first is not second


@pytest.mark.parametrize(
    ('kind', 'words', 'calls'),
    [*((*failure, [1, 1, 1, 1]) for failure in FAILURES), *((*shortage, [2, 2]) for shortage in SHORTAGES)],
)
def test_a_group_is_halved_where_memory_lacks_and_otherwise_computed_one_by_one(kind, words, calls):
    program = Squares(most=2, kind=kind, words=words)
    np.testing.assert_allclose(do_in_turns([lambda n=n: power(program, n, 1) for n in range(4)], 4), [0, 1, 4, 9])
    assert program.calls == calls


def test_an_interrupt_of_a_program_ends_all_pieces():
    left = []

    def work(value):
        with contextlib.ExitStack() as stack:
            stack.callback(left.append, value)
            return power(program, value, 1)

    program = Roots(kind=KeyboardInterrupt, words='')
    with pytest.raises(KeyboardInterrupt):
        do_in_turns([lambda value=value: work(value) for value in (1.0, -1.0)], 2)
    assert left == [1.0, -1.0]


def test_when_one_fails_the_others_are_unwound():
    program, left = Squares(), []

    def patient():
        with contextlib.ExitStack() as stack:
            stack.callback(left.append, 'patient')
            try:
                power(program, 2.0, 5)
            except Exception:
                left.append('swallowed')

    def failing():
        power(program, 2.0, 1)
        raise KeyError('broken')

    with pytest.raises(KeyError, match='broken'):
        do_in_turns([patient, failing, patient], 2)
    assert left == ['patient']


def test_none_at_a_time_is_refused():
    with pytest.raises(ValueError, match='at_once is 0'):
        do_in_turns([], 0)


def distance(params, data, options, step):
    """Example of a loss with a piece of work's own data."""
    return jnp.sum((params - data['target']) ** 2) + 0 * options * step


def scaled(values, *, factor):
    return {'scaled': factor * values}


def test_descents_in_turns_end_where_they_end_alone():
    # The second stops early, and the third has other shapes.
    targets = [np.array([1.0, -2.0]), np.array([0.01, 0.01]), np.array([3.0, 2.0, 1.0])]
    schedule = Schedule(60, 0.2, tolerance=0.01)

    def descend(target):
        return minimise(distance, jnp.zeros(len(target)), {'target': target}, 1.0, schedule)

    alone = [descend(target) for target in targets]
    together = do_in_turns([lambda target=target: descend(target) for target in targets], 3)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.params, other.params, atol=1e-5)
        np.testing.assert_allclose(one.losses, other.losses, atol=1e-5)
        assert one.stopped == other.stopped


def test_kept_programs_are_traced_for_several(monkeypatch, tmp_path):
    monkeypatch.setattr('autofuse_jax.registration.kept_programs._folder', lambda: tmp_path / 'traced')
    monkeypatch.setattr(scaled, '__module__', 'autofuse_jax.registration.example')
    program = KeptProgram(scaled, ('factor',), lambda values: {'scaled': values})
    values = [np.full(3, n, np.float32) for n in range(2)]
    for _ in range(2):
        results = do_in_turns([lambda v=v: program(v, factor=2.0)['scaled'] for v in values], 2)
        np.testing.assert_allclose(results, [[0] * 3, [2] * 3])
    assert len(list((tmp_path / 'traced').iterdir())) == 1
