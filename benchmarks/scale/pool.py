"""A pool of candidates: bytes on disk, and what a selection takes of memory and time."""

import math
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.memory import extra_bytes
from benchmarks.scale import costs
from benchmarks.scale.point import Point
from benchmarks.scale.weights import weights_of
from benchmarks.speed.networks import CLASSES
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled
from benchmarks.speed.networks import hypermodel
from keras_hyperens import HyperDeepEnsembleBuilder
from keras_hyperens.search.selection import greedy_selection

CHOICES = 4
SMALL, LARGE = (100, 40_000), (200, 80_000)  # T and N; neither fits a cache


def measure_disk(name: str = "LeNet", rows: int = 2_000) -> Iterator[Point]:
    """What one candidate of a search leaves on disk."""
    with tempfile.TemporaryDirectory() as directory:
        builder = HyperDeepEnsembleBuilder(
            hypermodel(name), ensemble_size=1, max_trials=1, initializations=0, directory=directory, seed=0
        )
        builder.search(*arrays(name, 64), validation_data=arrays(name, rows), epochs=1, verbose=0)
        measured = sum(file.stat().st_size for file in (builder.pool.directory / "candidates").iterdir())
    weights = weights_of(compiled(name, 0))
    what = f"a candidate on disk, {name}, N = {rows:,}, C = {CLASSES}"
    yield Point(what, "4 N C + 4 · 3 W", costs.candidate_bytes(weights, rows, CLASSES), measured, "bytes")


def measure_selection(
    repetitions: int, small: tuple[int, int] = SMALL, large: tuple[int, int] = LARGE
) -> Iterator[Point]:
    """Memory beyond the predictions, and processor time in proportion to candidates times rows."""
    cells = "T = {:,}, N = {:,}".format(*large)
    grown = extra_bytes(select, pool(*large), pool(4, 16))
    predicted = costs.selection_bytes(*large)
    yield Point(f"memory of a selection by NLL, {cells}", "8 T N", predicted / 2**20, grown / 2**20, "MiB")
    pools = {size: pool(*size) for size in (small, large)}
    times: dict[tuple[int, int], list[float]] = {size: [] for size in pools}
    for _ in range(2 * repetitions):
        for size, arguments in pools.items():
            start = time.process_time()
            select(*arguments)
            times[size].append(time.process_time() - start)
    seconds = {size: min(values) for size, values in times.items()}  # whatever else runs only adds to it
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
