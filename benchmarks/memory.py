"""What a process holds in memory, whoever allocated it: NumPy, TensorFlow or Python (Linux)."""

import pathlib
import pickle
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.processes import in_new_process

PROCESS = pathlib.Path("/proc/self")


def resident_bytes(size: str = "VmRSS") -> int:
    """The resident set of this process, or, for `"VmHWM"`, the largest that it had."""
    line = next(line for line in (PROCESS / "status").read_text().splitlines() if size in line)
    return int(line.split()[1]) * 1024


def extra_bytes(function: Callable, arguments: Any, warm_up: Any) -> int:
    """What `function` takes at most beyond its arguments, in a new process.

    Args:
        function: What is measured.
        arguments: Its arguments, which the process reads from a file.
        warm_up: Small ones for a first call, which imports and starts what stays in memory.
    """
    with tempfile.NamedTemporaryFile() as file:
        pickle.dump(arguments, file, protocol=5)
        file.flush()
        return in_new_process(_extra_bytes, function, file.name, warm_up)


def _extra_bytes(function: Callable, file: str, warm_up: Any) -> int:
    function(*warm_up)
    with open(file, "rb") as stream:
        arguments = pickle.load(stream)
    before = resident_bytes()
    (PROCESS / "clear_refs").write_text("5")  # the largest size is counted anew
    function(*arguments)
    return resident_bytes("VmHWM") - before
