"""Processor time of a training step: a part for the weights, and a part for each row."""

import time
import warnings
from collections.abc import Callable
from collections.abc import Iterator

import keras
import tensorflow as tf

from benchmarks.scale.point import Point
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled

M = 4
ROWS = (32, 256, 128)  # a step: the first two give the line, the third is a point on it
STEPS = 5


def measure(repetitions: int, name: str = "MLP", rows: tuple[int, int, int] = ROWS) -> Iterator[Point]:
    """Of a hyper-batch ensemble and of the plain network, and how they compare where rows are many."""
    models = {"hyper-batch": M, "plain": 0}
    steps = {
        (kind, size): _steps(compiled(name, members), name, size) for kind, members in models.items() for size in rows
    }
    least = processor_seconds(steps, repetitions)
    for kind in models:
        first, second, between = (least[kind, size] for size in rows)
        slope = (second - first) / (rows[1] - rows[0])
        predicted = first + slope * (rows[2] - rows[0])
        formula = f"a + b B, from B = {rows[0]} and {rows[1]}"
        what = f"step, {kind} {name}, B = {rows[2]}"
        yield Point(what, formula, 1e3 * predicted, 1e3 * between, "ms of a processor", is_counted=False)
    keras.backend.clear_session()


def processor_seconds(functions: dict, repetitions: int) -> dict:
    """Seconds of all threads in one step; functions take turns, and the least counts: others only add to it."""
    times = {key: [] for key in functions}
    for function in functions.values():
        function()
    for _ in range(repetitions):
        for key, function in functions.items():
            start = time.process_time()
            function()
            times[key].append((time.process_time() - start) / STEPS)
    return {key: min(values) for key, values in times.items()}


def _steps(model: keras.Model, name: str, rows: int) -> Callable[[], object]:
    """So many training steps on one batch."""
    x, y = arrays(name, rows)
    batch = tf.data.Dataset.from_tensors((tf.constant(x), tf.constant(y))).repeat()

    def run() -> None:
        with warnings.catch_warnings(action="ignore"):  # no tuning rows: another `fit` with them is traced anew
            model.fit(batch, steps_per_epoch=STEPS, shuffle=False, verbose=0)

    return run
