"""Members spread over devices, and prediction under a strategy: all checks in one process, which has two devices."""

import os

import pytest

from tests.forked import Forked
from tests.limit import LIMIT


@pytest.mark.integration
def test_with_two_devices():
    process = Forked("tests.models.many_devices", [], os.environ)
    passed, errors = process.communicate(LIMIT)
    assert process.returncode == 0, f"After {passed.split()}:\n{errors[-3000:]}"
