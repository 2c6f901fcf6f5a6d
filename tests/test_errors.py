"""What errors and checks of options say, and how commands end."""

import dataclasses
import errno
import pickle

import numpy as np
import pytest

from autofuse_jax.errors import (
    COUNT,
    INTERRUPTED_STATUS,
    POSITIVE,
    SHARE,
    USER_ERROR_STATUS,
    WEIGHT,
    Range,
    UserError,
    check_numbers,
    check_odd,
    check_option,
    check_types,
    run_command,
)


def raises(error):
    def command():
        raise error

    return command


def test_message_has_three_parts():
    error = UserError('a.nii is empty.', expected='voxels', fix='fetch it again')
    assert str(error) == 'a.nii is empty. Expected: voxels. To fix: fetch it again.'
    assert str(UserError('a.nii is empty')) == 'a.nii is empty.'
    assert isinstance(error, ValueError)


def test_message_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UserError('found', expected='wanted', fix='do')))
    assert str(error) == 'found. Expected: wanted. To fix: do.'
    assert (error.found, error.expected, error.fix) == ('found', 'wanted', 'do')


@pytest.mark.parametrize(('returned', 'status'), [(None, 0), (0, 0), (5, 5)])
def test_status_of_a_command_that_returns(returned, status):
    assert run_command(lambda: returned) == status


def test_user_error_becomes_one_line(capsys):
    assert run_command(raises(UserError('no data', fix='add some'))) == USER_ERROR_STATUS == 2
    assert capsys.readouterr().err == 'error: no data. To fix: add some.\n'


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_operating_system_error_becomes_one_line(code, capsys):
    error = OSError(code, 'the reason', '/some/file')
    assert run_command(raises(error)) == USER_ERROR_STATUS
    message = capsys.readouterr().err
    assert message.count('\n') == 1
    assert 'the reason (/some/file)' in message and 'disk space' in message


def test_too_little_memory_becomes_one_line(capsys):
    assert run_command(raises(MemoryError('Unable to allocate 225. GiB'))) == USER_ERROR_STATUS
    assert capsys.readouterr().err.startswith('error: Unable to allocate 225. GiB. To fix: ')


def test_interrupt(capsys):
    assert run_command(raises(KeyboardInterrupt())) == INTERRUPTED_STATUS == 130
    assert 'continue' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('known', 'inside', 'outside', 'words'),
    [
        (COUNT, (1, 7, np.int64(3)), (0, -1, 1.0, '1', True, None), 'a whole number of 1 or more'),
        (POSITIVE, (1e-9, 5), (0, 0.0, -1), 'a number above 0'),
        (WEIGHT, (0, 0.0, np.float32(2)), (-1e-9, float('nan'), float('inf'), False), 'a number of 0 or more'),
        (SHARE, (0, 1, 0.5), (-0.1, 1.1), 'a number of 0 or more, at most 1'),
        (Range(least=0, below=1), (0, 0.9), (1, 1.0), 'a number of 0 or more, less than 1'),
        (Range(least=-1, most=2**32, whole=True), (-1, 0), (-2,), 'a whole number of -1 or more, at most 4294967296'),
        (Range(), (-5, 0.5), (float('-inf'),), 'a number'),
    ],
)
def test_ranges(known, inside, outside, words):
    assert all(value in known for value in inside)
    assert not any(value in known for value in outside)
    assert str(known) == words


def test_an_option_is_named_with_its_value_and_what_it_may_be():
    check_option('loss.kl', 0.5, WEIGHT)
    check_option('data.source', 'web', ('web', 'disk'))
    with pytest.raises(UserError, match=r'^loss.kl is -1. Expected: a number of 0 or more. To fix: correct loss.kl.$'):
        check_option('loss.kl', -1, WEIGHT)
    with pytest.raises(UserError, match="data.source is 'tape'. Expected: one of web, disk. To fix: ask"):
        check_option('data.source', 'tape', ('web', 'disk'), fix='ask')


def test_sequences_of_numbers():
    check_numbers('window', [1, 2, 3], COUNT, count=3)
    check_numbers('steps', (1,), COUNT)
    for wrong in ((), (1, 2), (1, 2, 0), '123', 5, (1, 2, 3.5)):
        with pytest.raises(UserError, match='Expected: 3 numbers, each a whole number of 1 or more'):
            check_numbers('window', wrong, COUNT, count=3)
    with pytest.raises(UserError, match='one or more numbers'):
        check_numbers('steps', (), COUNT)


@pytest.mark.parametrize(('value', 'fix'), [(8, 9), (0, 1), (-4, 1)])
def test_even_windows_are_refused_with_the_next_odd_one(value, fix):
    check_odd('window', fix)
    with pytest.raises(UserError, match=f'an odd number of 1 or more. To fix: set it to {fix}'):
        check_odd('window', value)


@pytest.mark.parametrize('value', [1.5, 3.0, '3', True, None])
def test_a_window_that_is_no_whole_number_is_refused(value):
    with pytest.raises(UserError, match='an odd number of 1 or more. To fix: correct window'):
        check_odd('window', value)


@dataclasses.dataclass
class Options:
    flag: bool = False
    count: int = 1
    number: float = 0.5
    word: str = 'a'
    anything: tuple[int, ...] = ()


def test_types_of_options():
    check_types(Options())
    check_types(Options(number=2, anything='what'))
    for name, value, words in (
        ('flag', 1, 'True or False'),
        ('flag', 'yes', 'True or False'),
        ('count', 1.0, 'a whole number'),
        ('count', True, 'a whole number'),
        ('number', '0.5', 'a number'),
        ('number', float('nan'), 'a number'),
        ('word', 3, 'text'),
    ):
        with pytest.raises(UserError) as error:
            check_types(Options(**{name: value}), 'model.')
        assert str(error.value).startswith(f'model.{name} is {value!r}. Expected: {words}. To fix: correct')


def test_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(raises(ZeroDivisionError()))
