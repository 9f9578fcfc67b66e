"""A line of the table: what was measured, and whether it is what it should be."""

import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import experiment

WARM_UP = 3  # first calls of each function, which trace


@dataclass(frozen=True)
class Aim:
    """A ratio and its limit.

    Attributes:
        part: Which measurement it belongs to.
        name: What is compared.
        ratio: What was measured; for example ours over the plain network's.
        limit: What it should be.
        at_most: Whether the limit is an upper one; otherwise the ratio should be at least that.
        note: The two numbers that make the ratio.
    """

    part: str
    name: str
    ratio: float
    limit: float
    at_most: bool = True
    note: str = ""

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.limit if self.at_most else self.ratio >= self.limit

    @property
    def measured(self) -> list[str]:
        return [self.part, self.name, f"{self.ratio:.2f}", self.note]

    @property
    def row(self) -> list[str]:
        limit = f"{'at most' if self.at_most else 'at least'} {self.limit:g}"
        return [self.part, self.name, f"{self.ratio:.2f}", limit, self.note, "met" if self.is_met else "MISSED"]


def table(aims: Iterable[Aim]) -> str:
    """Markdown; the last column says `met` or `MISSED`."""
    return experiment.table(["", "", "ratio", "aim", "", ""], [aim.row for aim in aims])


def seconds(functions: Mapping[Any, Callable[[], object]], repetitions: int, calls: int = 1) -> dict[Any, float]:
    """Median seconds of one call of each function, which can be compared on a busy machine.

    Every repetition goes once through all functions, each time beginning with another one, so that whatever else the
    machine does slows all of them alike.

    Args:
        functions: By name; each returns when its work is done.
        repetitions: How often each is timed.
        calls: How many calls in a row are timed together.
    """

    def timed(function: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return (time.perf_counter() - start) / calls

    for function in functions.values():
        for _ in range(WARM_UP):
            function()
    return medians(
        {name: lambda function=function: timed(function) for name, function in functions.items()}, repetitions
    )


def medians(functions: Mapping[Any, Callable[[], float]], repetitions: int) -> dict[Any, float]:
    """The median of what each function returns; they take turns."""
    names, values = list(functions), {name: [] for name in functions}
    for repetition in range(repetitions):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            values[name].append(functions[name]())
    return {name: float(np.median(each)) for name, each in values.items()}
