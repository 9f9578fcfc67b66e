"""A training step, a selection, and the candidates of several workers: timed, and the memory of a selection.

Times are of processors where nothing pauses: whatever else runs only adds to them, so the least of repetitions counts.
"""

import math
import tempfile
import time
import warnings
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

from benchmarks.memory import extra_bytes
from benchmarks.scale import costs
from benchmarks.scale.point import Point
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled
from keras_hyperens import HyperDeepEnsembleBuilder
from keras_hyperens.search.selection import greedy_selection

M = 4
ROWS = (32, 256, 128)  # a step: the first two give the line, the third is a point on it
STEPS = 5
CHOICES = 4
SMALL, LARGE = (100, 40_000), (200, 80_000)  # T and N; neither fits a cache
PAUSE = 2.0  # seconds


def processor_seconds(functions: dict[Hashable, Callable[[], object]], repetitions: int) -> dict[Hashable, float]:
    """Of all threads, the least of calls that take turns."""
    times: dict[Hashable, list[float]] = {key: [] for key in functions}
    for _ in range(repetitions):
        for key, function in functions.items():
            start = time.process_time()
            function()
            times[key].append(time.process_time() - start)
    return {key: min(values) for key, values in times.items()}


def measure_steps(repetitions: int, name: str = "MLP", rows: tuple[int, int, int] = ROWS) -> Iterator[Point]:
    """A part for the weights and a part for each row, of a hyper-batch ensemble and of the plain network."""
    models = {"hyper-batch": M, "plain": 0}
    steps = {
        (kind, size): _steps(compiled(name, members), name, size) for kind, members in models.items() for size in rows
    }
    for step in steps.values():
        step()  # traced
    least = processor_seconds(steps, repetitions)
    for kind in models:
        first, second, between = (least[kind, size] / STEPS for size in rows)
        slope = (second - first) / (rows[1] - rows[0])
        predicted = first + slope * (rows[2] - rows[0])
        formula = f"a + b B, from B = {rows[0]} and {rows[1]}"
        what = f"step, {kind} {name}, B = {rows[2]}"
        yield Point(what, formula, 1e3 * predicted, 1e3 * between, "ms of a processor", is_counted=False)
    keras.backend.clear_session()


def _steps(model: keras.Model, name: str, rows: int) -> Callable[[], object]:
    """So many training steps on one batch."""
    batch = tf.data.Dataset.from_tensors(tuple(map(tf.constant, arrays(name, rows)))).repeat()

    def run() -> None:
        with warnings.catch_warnings(action="ignore"):  # no tuning rows: another `fit` with them is traced anew
            model.fit(batch, steps_per_epoch=STEPS, shuffle=False, verbose=0)

    return run


def measure_selection(
    repetitions: int, small: tuple[int, int] = SMALL, large: tuple[int, int] = LARGE
) -> Iterator[Point]:
    """Memory beyond the predictions, and processor time in proportion to candidates times rows."""
    cells = "T = {:,}, N = {:,}".format(*large)
    grown = extra_bytes(select, pool(*large), pool(4, 16))
    predicted = costs.selection_bytes(*large)
    yield Point(f"memory of a selection by NLL, {cells}", "8 T N", predicted / 2**20, grown / 2**20, "MiB")
    selections = {size: partial(select, *pool(*size)) for size in (small, large)}
    seconds = processor_seconds(selections, 2 * repetitions)
    predicted = seconds[small] * math.prod(large) / math.prod(small)
    what = f"time of a selection by NLL, {cells}, K = {CHOICES}"
    formula = f"T N, from {small[0]:,} and {small[1]:,}"
    yield Point(what, formula, predicted, seconds[large], "s of a processor", is_counted=False)


def pool(candidates: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two classes that differ between candidates, and labels."""
    random = np.random.default_rng(0)
    first = random.uniform(0.05, 0.95, (candidates, rows)).astype("float32")
    return np.stack([first, 1 - first], axis=-1), random.integers(0, 2, rows)


def select(predictions: np.ndarray, labels: np.ndarray) -> object:
    return greedy_selection(predictions, labels, CHOICES, replacement=False, tolerance=-math.inf)


class Pausing(keras_tuner.HyperModel):
    """Trains nothing, for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def build(self, hp: Any) -> keras.Model:
        hp.Float("l2", 1e-6, 1e-2, sampling="log")
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def fit(self, hp: Any, model: keras.Model, *args: Any, **kwargs: Any) -> dict[str, float]:
        time.sleep(self.seconds)
        return {"val_loss": 1.0}


def measure_workers(trials: int = 12, workers: int = 2, seconds: float = PAUSE) -> Iterator[Point]:
    """How fast candidates come from n workers, where a training is a pause: the rest is our share.

    The pause between two candidates of one worker predicts that of several.
    """
    alone, together = (interval(trials, number, seconds) for number in (1, workers))
    predicted = costs.search_seconds(workers, seconds, workers, overhead=alone - seconds) / workers
    what = f"from one candidate to the next, {workers} workers"
    formula = f"(t + o) / n, t = {seconds:g} s, o = {1e3 * (alone - seconds):.0f} ms from one worker"
    yield Point(what, formula, predicted, together, "s", is_counted=False)


def interval(trials: int, workers: int, seconds: float) -> float:
    """Seconds from one finished candidate to the next, once all workers have finished one."""
    settings = {"ensemble_size": 1, "max_trials": trials, "initializations": 0, "seed": 0}
    with tempfile.TemporaryDirectory() as directory:
        builder = HyperDeepEnsembleBuilder(Pausing(seconds), directory=directory, **settings)
        rows = np.zeros((4, 3), "float32"), np.arange(4) % 2
        builder.search(*rows, validation_data=rows, workers=workers, verbose=0)
        records = (builder.pool.directory / "candidates").glob("*.json")
        ends = sorted(record.stat().st_mtime for record in records)
    counted = ends[workers - 1 :]
    return (counted[-1] - counted[0]) / (len(counted) - 1)
