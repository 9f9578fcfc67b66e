"""What a process holds in memory, whoever allocated it: NumPy, TensorFlow or Python (Linux)."""

import pathlib
from collections.abc import Callable
from typing import Any

from benchmarks.processes import in_new_process

PROCESS = pathlib.Path("/proc/self")


def resident_bytes(size: str = "VmRSS") -> int:
    """The resident set of this process, or, for `"VmHWM"`, the largest that it had."""
    line = next(line for line in (PROCESS / "status").read_text().splitlines() if size in line)
    return int(line.split()[1]) * 1024


def extra_bytes(function: Callable, load: Callable[[], Any], warm_up: Callable[[], Any]) -> int:
    """What `function` takes at most beyond its arguments, in a new process.

    Args:
        function: What is measured.
        load: Makes its arguments.
        warm_up: Makes small ones for a first call, which imports and starts what stays in memory.
    """
    return in_new_process(_extra_bytes, function, load, warm_up)


def _extra_bytes(function: Callable, load: Callable[[], Any], warm_up: Callable[[], Any]) -> int:
    function(*warm_up())
    arguments = load()
    before = resident_bytes()
    (PROCESS / "clear_refs").write_text("5")  # the largest size is counted anew
    function(*arguments)
    return resident_bytes("VmHWM") - before
