import os

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.processes import run_in_processes


def test_one_worker_stays_in_this_process():
    assert list(run_in_processes(lambda item: (item, os.getpid()), [1, 2], 1)) == [(1, os.getpid()), (2, os.getpid())]


def test_nothing_to_do():
    assert list(run_in_processes(abs, [], 4)) == []


def test_several_workers_and_errors_inside_them():
    assert sorted(run_in_processes(abs, [-3, 2, -1], 2)) == [1, 2, 3]
    with pytest.raises(FileNotFoundError, match='nowhere'):
        list(run_in_processes(os.stat, ['nowhere', 'nowhere'], 2))


def test_a_killed_worker_is_explained():
    with pytest.raises(UserError, match='lack of memory.*fewer --workers'):
        list(run_in_processes(os._exit, [9, 9], 2))
