"""Members spread over devices, and prediction under a strategy: all checks in one process, which has two devices."""

import subprocess
import sys

import pytest

from tests.limit import LIMIT


@pytest.mark.integration
def test_with_two_devices():
    program = [sys.executable, "-m", "tests.models.many_devices"]
    process = subprocess.run(program, capture_output=True, text=True, timeout=LIMIT)
    assert process.returncode == 0, f"After {process.stdout.split()}:\n{process.stderr[-3000:]}"
