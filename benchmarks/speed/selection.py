"""Greedy selection: how it grows with its pool, and AutoGluon's and the reference's rule side by side with it."""

import math
import pathlib
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.memory import extra_bytes
from benchmarks.memory import resident_bytes
from benchmarks.processes import in_new_process
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import seconds
from keras_hyperens.search.selection import greedy_selection

CLASSES, CHOICES, ENSEMBLE_SIZE = 100, 5, 4
SIZES = {"nll": (100, 10_000), "brier": (20, 2_500)}  # T and N; a Brier score reads all predictions at every choice
DOUBLE = 2.2  # times the cost for twice the candidates or rows
LARGEST, GIBIBYTES = (1_000, 50_000), 4.0  # resident; its predictions take 9.3 GiB
CELLS = tuple((T, N, C) for T in (20, 100, 500) for N in (1_000, 10_000) for C in (10, 100))
FASTER, FASTER_IN_LARGE = 20, 100  # times as fast as AutoGluon's: in every cell, and at T = 100, N = 10,000, C = 100


def measure_growth(repetitions: int, sizes: dict[str, tuple[int, int]] = SIZES) -> Iterator[Aim]:
    """Twice the candidates and twice the rows, for each metric; predictions are memory-mapped files in float16.

    Every candidate has bytes of its own, and a selection opens its files anew. All cases choose as many candidates,
    none of them twice, because a score may have nothing to read for one that is there already.
    """
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
    """The peak of a whole process, mapped pages included; once, because it takes minutes."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        write_pool(directory, candidates, rows)
        duration, peak = in_new_process(_timed, directory, candidates, rows, "nll")
        what = f"nll, T = {candidates:,}, N = {rows:,}, C = {CLASSES}"
        stored = candidates * rows * CLASSES * 2 / 2**30
        note = f"{stored:.1f} GiB of predictions in {duration:.0f} s"
        yield Aim("GiB resident", what, peak / 2**30, GIBIBYTES, note=note)


def pool(candidates: int, rows: int, classes: int = CLASSES) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Labels, and predictions of different quality that err in different places, `[N, C]` each."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, rows)

    def predictions() -> Iterator[np.ndarray]:
        for _ in range(candidates):
            logits = random.standard_normal((rows, classes), "float32")
            logits[np.arange(rows), labels] += random.uniform(1.5, 3)
            np.exp(logits, out=logits)
            yield logits / logits.sum(-1, keepdims=True)

    return labels, predictions()


def write_pool(directory: pathlib.Path, candidates: int, rows: int) -> None:
    labels, predictions = pool(candidates, rows)
    np.save(directory / "labels.npy", labels)
    for t, each in enumerate(predictions):
        np.save(directory / f"{t}.npy", each.astype("float16"))


def select(directory: pathlib.Path, candidates: int, rows: int, metric: str) -> tuple[int, ...]:
    """The choices among the first candidates, on the first rows."""
    predictions = [np.load(directory / f"{t}.npy", mmap_mode="r")[:rows] for t in range(candidates)]
    labels = np.load(directory / "labels.npy")[:rows]
    return greedy_selection(predictions, labels, CHOICES, metric, replacement=False, tolerance=-math.inf).indices


def _timed(directory: pathlib.Path, candidates: int, rows: int, metric: str) -> tuple[float, int]:
    start = time.perf_counter()
    select(directory, candidates, rows, metric)
    return time.perf_counter() - start, resident_bytes("VmHWM")


def measure_peers(repetitions: int, cells: tuple[tuple[int, int, int], ...] = CELLS) -> Iterator[Aim]:
    """The metric is the NLL; both must choose what ours does.

    Against AutoGluon (`pip install autogluon.core`; left out with a message where it is missing) all make the same
    number of choices, with replacement, and the best prefix is taken. Against the reference (the rule of
    uncertainty-baselines, in TensorFlow: every candidate's ensemble averaged anew at every step) the selection ends
    when K are distinct or nothing improves. Memory is the peak beyond the pool, in processes of their own.
    """
    peers = {"the reference": (like_reference, of_reference)}
    if _has_autogluon():
        peers["AutoGluon"] = (like_autogluon, of_autogluon)
    for cell in cells:
        labels, predictions = pool(*cell)
        rows = np.stack(list(predictions)), labels
        what = "T = {}, N = {:,}, C = {}".format(*cell)
        for name, functions in peers.items():
            yield from _compared(
                name, functions, rows, what, FASTER_IN_LARGE if cell == CELLS[7] else FASTER, repetitions
            )


def _compared(
    name: str, functions: tuple[Callable, Callable], rows: Any, what: str, aim: float, repetitions: int
) -> Iterator[Aim]:
    chosen = [function(*rows) for function in functions]
    if chosen[0] != chosen[1]:
        raise ValueError(f"{name} must choose what ours does for {what}. Received: {chosen[1]}, ours: {chosen[0]}")
    ours, theirs = seconds(dict(enumerate(partial(each, *rows) for each in functions)), repetitions).values()
    limit = aim if name == "AutoGluon" else 1
    yield Aim(f"{name} / our selection", what, theirs / ours, limit, False, f"{theirs:.3f} / {ours:.4f} s")
    small = pool(5, 100, 10)
    warm_up = np.stack(list(small[1])), small[0]
    ours, theirs = (extra_bytes(each, rows, warm_up) / 2**20 for each in functions)
    note = f"{theirs:.1f} / {ours:.1f} MiB beyond {rows[0].nbytes / 2**20:.1f}"
    yield Aim(f"memory of {name} / our selection", what, theirs / max(ours, 1e-3), 1, False, note)


def _has_autogluon() -> bool:
    try:
        import autogluon.core  # noqa: F401
    except ImportError:
        print("AutoGluon is not installed (pip install autogluon.core): its lines are left out")
        return False
    return True


def of_autogluon(predictions: np.ndarray, labels: np.ndarray) -> list[int]:
    from autogluon.core.metrics import log_loss
    from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection

    selection = EnsembleSelection(CHOICES, "multiclass", log_loss)
    selection.fit(list(predictions), labels)
    return [int(index) for index in selection.indices_]


def like_autogluon(predictions: np.ndarray, labels: np.ndarray) -> list[int]:
    selection = greedy_selection(predictions, labels, CHOICES, stop="total", tolerance=-math.inf)
    return list(selection.best_prefix().indices)


def of_reference(predictions: np.ndarray, labels: np.ndarray) -> list[int]:
    """The rule as a script would write it: each candidate's ensemble is averaged and scored from the beginning."""
    pool_on_device = tf.constant(predictions)
    chosen: list[int] = []
    best = math.inf
    while len(set(chosen)) < ENSEMBLE_SIZE:
        scores = [float(_nll(tf.gather(pool_on_device, [*chosen, t]), labels)) for t in range(len(predictions))]
        if min(scores) >= best:
            break
        best = min(scores)
        chosen.append(int(np.argmin(scores)))
    return chosen


def _nll(members: Any, labels: np.ndarray) -> Any:
    mean = tf.reduce_mean(members, axis=0)
    return tf.reduce_mean(-tf.math.log(tf.gather(mean, labels, batch_dims=1)))


def like_reference(predictions: np.ndarray, labels: np.ndarray) -> list[int]:
    return list(greedy_selection(predictions, labels, ENSEMBLE_SIZE).indices)
