"""What tests of the training loop share."""

from pathlib import Path

import pytest

from tests.programs import remembered_programs


@pytest.fixture(scope='module')
def programs():
    """Most runs differ in when they are stopped and continued, not in what they compile."""
    with remembered_programs():
        yield


@pytest.fixture(scope='module')
def phantom(tmp_path_factory) -> Path:
    """The folder that runs make their phantom in."""
    return tmp_path_factory.mktemp('phantom')
