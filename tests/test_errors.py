import errno
import pickle

import pytest

from autofuse_jax.errors import INTERRUPTED_STATUS, USER_ERROR_STATUS, UserError, run_command


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


def test_interrupt(capsys):
    assert run_command(raises(KeyboardInterrupt())) == INTERRUPTED_STATUS == 130
    assert 'continue' in capsys.readouterr().err


def test_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(raises(ZeroDivisionError()))
