"""Traced programs that are kept: the same results, traced once, and only where the file is what was written."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.registration import kept_programs
from autofuse_jax.registration.kept_programs import KeptProgram

traces: list[str] = []


class Point(NamedTuple):
    x: jax.Array
    y: jax.Array


def scaled(point, shift, *, factor, weigh):
    """Something with a structure, a number and a function as static arguments."""
    traces.append('scaled')
    return Point(factor * point.x + weigh(shift), point.y - shift), {'sum': jnp.sum(point.x)}


def doubled(value):
    return 2 * value


# As if they were functions of the package.
for _function in (scaled, doubled):
    _function.__module__ = 'autofuse_jax.registration.example'

ARGUMENTS = (Point(np.arange(3, dtype=np.float32), np.ones(3, np.float32)), 0.5)
STATIC = {'factor': 3.0, 'weigh': doubled}


def program(function=scaled):
    return KeptProgram(function, ('factor', 'weigh'), lambda point, shift: (point, {'sum': shift}))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_programs, '_folder', lambda: tmp_path / 'traced')
    traces.clear()
    return tmp_path / 'traced'


def check(result):
    point, sums = result
    assert isinstance(point, Point)
    np.testing.assert_allclose(point.x, [1.0, 4.0, 7.0])
    np.testing.assert_allclose(point.y, [0.5] * 3)
    np.testing.assert_allclose(sums['sum'], 3.0)


def test_a_function_is_traced_once_and_by_nobody_after(folder):
    first = program()
    check(first(*ARGUMENTS, **STATIC))
    check(first(*ARGUMENTS, **STATIC))
    # As another process would.
    check(program()(*ARGUMENTS, **STATIC))
    assert traces == ['scaled'] and len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ('arguments', 'static'),
    [
        ((Point(np.ones(4, np.float32), np.ones(4, np.float32)), 0.5), STATIC),
        ((Point(np.ones(3, np.int32), np.ones(3, np.float32)), 0.5), STATIC),
        (ARGUMENTS, STATIC | {'factor': 2.0}),
    ],
)
def test_other_shapes_types_and_static_arguments_are_other_programs(folder, arguments, static):
    kept = program()
    check(kept(*ARGUMENTS, **STATIC))
    expected = scaled(*arguments, **static)
    traces.clear()
    np.testing.assert_allclose(kept(*arguments, **static)[0].x, expected[0].x)
    assert traces == ['scaled'] and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    'setting',
    [
        lambda: jax.enable_x64(True),
        lambda: jax.default_matmul_precision('highest'),
        lambda: jax.numpy_dtype_promotion('strict'),
    ],
    ids=['64 bits', 'precision of products', 'promotion of types'],
)
def test_other_settings_of_jax_are_other_programs(folder, setting):
    kept, arguments = program(), (ARGUMENTS[0], np.float32(ARGUMENTS[1]))
    check(kept(*arguments, **STATIC))
    with setting():
        check(kept(*arguments, **STATIC))
        assert len(traces) == 2
        # As another process would.
        check(program()(*arguments, **STATIC))
    check(kept(*arguments, **STATIC))
    assert len(traces) == len(list(folder.iterdir())) == 2


def test_another_kind_of_device_has_another_program(monkeypatch):
    here = program().key(ARGUMENTS, STATIC)
    assert program().key(ARGUMENTS, STATIC) == here
    monkeypatch.setattr(jax, 'default_backend', lambda: 'another')
    there = program().key(ARGUMENTS, STATIC)
    assert there != here and there.text(scaled) != here.text(scaled)


def test_other_source_is_another_program(folder, monkeypatch):
    check(program()(*ARGUMENTS, **STATIC))
    monkeypatch.setattr(kept_programs, '_source', lambda: 'other')
    check(program()(*ARGUMENTS, **STATIC))
    assert len(traces) == len(list(folder.iterdir())) == 2


@pytest.mark.parametrize('damage', [lambda content: content[:-1], lambda content: content[:99] + b'?' + content[100:]])
def test_a_damaged_file_is_written_anew(folder, damage):
    check(program()(*ARGUMENTS, **STATIC))
    (path,) = folder.iterdir()
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    check(program()(*ARGUMENTS, **STATIC))
    assert traces == ['scaled'] * 2 and len(path.read_bytes()) == len(content)


def test_a_cache_that_cannot_be_written_is_no_error(folder):
    folder.write_text('a file where the folder should be')
    check(program()(*ARGUMENTS, **STATIC))


def test_functions_of_others_are_not_kept(folder):
    def local(value):
        return 2 * value

    check(program()(*ARGUMENTS, factor=3.0, weigh=local))
    assert not folder.exists()


def test_nothing_is_kept_without_a_cache_or_where_jax_looks_for_mistakes():
    assert kept_programs._folder() is not None
    with jax.debug_nans(True):
        assert kept_programs._folder() is None
