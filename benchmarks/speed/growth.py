"""How a greedy selection grows with its pool, whose predictions are memory-mapped files in float16.

Every candidate has bytes of its own, and a selection opens its files anew. All cases choose as many candidates, none of
them twice, because a score may have nothing to read for one that is there already. Resident is the peak of a whole
process (`VmHWM`), mapped pages included.
"""

import math
import pathlib
import tempfile
import time
from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.memory import resident_bytes
from benchmarks.processes import in_new_process
from benchmarks.speed.aim import Aim
from benchmarks.speed.timing import seconds
from keras_hyperens.search.selection import greedy_selection

CLASSES, CHOICES = 100, 5
SIZES = {"nll": (100, 10_000), "brier": (20, 2_500)}  # T and N; a Brier score reads all predictions at every choice
DOUBLE = 2.2  # times the cost for twice the candidates or rows
LARGEST = (1_000, 50_000)
GIBIBYTES = 4.0  # resident, of the largest: 9.3 GiB of predictions


def measure(repetitions: int, sizes: dict[str, tuple[int, int]] | None = None) -> Iterator[Aim]:
    """Twice the candidates and twice the rows, for each metric."""
    sizes = SIZES if sizes is None else sizes
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        write_pool(directory, *(2 * max(each) for each in zip(*sizes.values(), strict=True)))
        for metric, (candidates, rows) in sizes.items():
            cases = {"once": (candidates, rows), "T": (2 * candidates, rows), "N": (candidates, 2 * rows)}
            functions = {case: partial(select, directory, *size, metric) for case, size in cases.items()}
            medians = seconds(functions, repetitions)
            for case, letter in (("T", "candidates"), ("N", "rows")):
                what = f"{metric}, twice the {letter}, from T = {candidates}, N = {rows:,}"
                note = f"{1e3 * medians[case]:.0f} / {1e3 * medians['once']:.0f} ms"
                yield Aim("selection grows", what, medians[case] / medians["once"], DOUBLE, note=note)


def measure_largest(repetitions: int, candidates: int = LARGEST[0], rows: int = LARGEST[1]) -> Iterator[Aim]:
    """The largest pool, once: it takes minutes, and as much room on disk as it says."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        write_pool(directory, candidates, rows)
        duration, peak = in_new_process(_timed, directory, candidates, rows, "nll")
        what = f"nll, T = {candidates:,}, N = {rows:,}, C = {CLASSES}"
        stored = candidates * rows * CLASSES * 2 / 2**30
        note = f"{stored:.1f} GiB of predictions in {duration:.0f} s"
        yield Aim("GiB resident", what, peak / 2**30, GIBIBYTES, note=note)


def write_pool(directory: pathlib.Path, candidates: int, rows: int) -> None:
    """Predictions of different quality that err in different places, and labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, rows)
    np.save(directory / "labels.npy", labels)
    for t in range(candidates):
        logits = random.standard_normal((rows, CLASSES), "float32")
        logits[np.arange(rows), labels] += random.uniform(1.5, 3)
        np.exp(logits, out=logits)
        np.save(directory / f"{t}.npy", (logits / logits.sum(-1, keepdims=True)).astype("float16"))


def select(directory: pathlib.Path, candidates: int, rows: int, metric: str) -> tuple[int, ...]:
    """The choices among the first candidates, on the first rows."""
    predictions = [np.load(directory / f"{t}.npy", mmap_mode="r")[:rows] for t in range(candidates)]
    labels = np.load(directory / "labels.npy")[:rows]
    return greedy_selection(predictions, labels, CHOICES, metric, replacement=False, tolerance=-math.inf).indices


def _timed(directory: pathlib.Path, candidates: int, rows: int, metric: str) -> tuple[float, int]:
    start = time.perf_counter()
    select(directory, candidates, rows, metric)
    return time.perf_counter() - start, resident_bytes("VmHWM")
