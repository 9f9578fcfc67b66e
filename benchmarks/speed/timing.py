"""Times that can be compared on a busy machine: functions take turns, and medians count."""

import time
from collections.abc import Callable
from collections.abc import Mapping

import numpy as np

WARM_UP = 3


def seconds(functions: Mapping[str, Callable[[], object]], repetitions: int, calls: int = 1) -> dict[str, float]:
    """Median seconds of one call of each function.

    Every repetition goes once through all functions, each time beginning with another one, so that whatever else the
    machine does slows all of them alike.

    Args:
        functions: By name; each returns when its work is done.
        repetitions: How often each is timed.
        calls: How many calls in a row are timed together.
    """
    for function in functions.values():
        for _ in range(WARM_UP):
            function()
    names, times = list(functions), {name: [] for name in functions}
    for repetition in range(repetitions):
        for name in names[repetition % len(names) :] + names[: repetition % len(names)]:
            start = time.perf_counter()
            for _ in range(calls):
                functions[name]()
            times[name].append((time.perf_counter() - start) / calls)
    return {name: float(np.median(values)) for name, values in times.items()}
