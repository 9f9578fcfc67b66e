"""Greedy selection: ours, AutoGluon's `EnsembleSelection`, and the reference's rule in TensorFlow, side by side.

    python -m benchmarks.selection                  # every cell: T in 20, 100, 500, N in 1k, 10k, C in 10, 100
    python -m benchmarks.selection --quick

The metric is the NLL. Against AutoGluon (`pip install autogluon.core`; left out with a message where it is missing) all
make the same number of choices, with replacement, and the best prefix is taken. Against the reference (the rule of
uncertainty-baselines, in TensorFlow: every candidate's ensemble averaged anew at every step) the selection ends when K
are distinct or nothing improves. Times are medians over interleaved repetitions; `same` says whether the choices are.
Memory is the peak of the resident set beyond the pool and what was imported, each in a process of its own (Linux).
"""

import argparse
import math
import pathlib
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import tensorflow as tf

from benchmarks.memory import extra_bytes
from keras_hyperens.search.selection import greedy_selection

CELLS = [(T, N, C) for T in (20, 100, 500) for N in (1_000, 10_000) for C in (10, 100)]
CHOICES = 5
ENSEMBLE_SIZE = 4
AIM, AIM_OF_LARGEST = 20, 100  # times faster than AutoGluon's: in every cell, and at T = 100, N = 10,000, C = 100


def pool(candidates: int, rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of different quality that err in different places, `[T, N, C]` float32, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    predictions = np.empty((candidates, rows, classes), "float32")
    for t in range(candidates):
        logits = random.normal(size=(rows, classes)).astype("float32")
        logits[np.arange(rows), labels] += random.uniform(1.5, 3)
        exponentials = np.exp(logits)
        predictions[t] = exponentials / exponentials.sum(-1, keepdims=True)
    return predictions, labels


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


def timed(functions: list[Callable], predictions: np.ndarray, labels: np.ndarray, repetitions: int) -> list[tuple]:
    """For each function the median of its seconds, and what it chose."""
    seconds: list[list[float]] = [[] for _ in functions]
    chosen: list[list[int]] = [[] for _ in functions]
    for _ in range(repetitions):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            chosen[number] = function(predictions, labels)
            seconds[number].append(time.perf_counter() - start)
    return [(float(np.median(each)), choice) for each, choice in zip(seconds, chosen)]


def extra_mebibytes(functions: list[Callable], predictions: np.ndarray, labels: np.ndarray) -> list[float]:
    """For each function what it takes beyond the pool, which each reads from a file in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        files = [pathlib.Path(directory) / f"{name}.npy" for name in ("predictions", "labels")]
        for file, array in zip(files, (predictions, labels)):
            np.save(file, array)
        return [extra_bytes(each, partial(_loaded, files), partial(pool, 5, 100, 10)) / 2**20 for each in functions]


def _loaded(files: list[pathlib.Path]) -> list[np.ndarray]:
    return [np.load(file) for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest cell alone")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    has_autogluon = _has_autogluon()
    print(f"{'T':>4}{'N':>7}{'C':>5} | {'ours':>8}{'AutoGluon':>11}{'ratio':>7} {'same':<6}", end="")
    print(f"| {'ours':>8}{'reference':>11}{'ratio':>7} {'same':<6}", end="")
    print("| MiB:" + "".join(f"{name:>11}" for name in ("pool", "ours", "reference", "AutoGluon")))
    for cell in CELLS[:1] if options.quick else CELLS:
        print(_line(cell, has_autogluon, options.repetitions), flush=True)


def _line(cell: tuple[int, int, int], has_autogluon: bool, repetitions: int) -> str:
    rows = pool(*cell)
    peers = [of_reference, of_autogluon] if has_autogluon else [of_reference]
    memory = extra_mebibytes([like_autogluon, *peers], *rows)
    times, verdict = f"{'not installed':>33}| ", ""
    if has_autogluon:
        times, ratio = _compared([like_autogluon, of_autogluon], *rows, repetitions)
        aim = AIM_OF_LARGEST if cell == (100, 10_000, 100) else AIM
        met = [{True: "met", False: "MISSED"}[each] for each in (ratio >= aim, memory[0] < memory[-1])]
        verdict = f"   aim {aim}: {met[0]}, less memory: {met[1]}"
    times += _compared([like_reference, of_reference], *rows, repetitions)[0]
    sizes = "".join(f"{each:>11.1f}" for each in (rows[0].nbytes / 2**20, *memory))
    return "{:>4}{:>7}{:>5} | ".format(*cell) + times + "    " + sizes + verdict


def _compared(functions: list[Callable], predictions: np.ndarray, labels: np.ndarray, repetitions: int) -> tuple:
    """The times of ours and theirs as text, and how often theirs has ours in it."""
    (ours, choice), (theirs, their_choice) = timed(functions, predictions, labels, repetitions)
    return f"{ours:>7.4f}s{theirs:>10.3f}s{theirs / ours:>7.0f} {choice == their_choice!s:<6}| ", theirs / ours


def _has_autogluon() -> bool:
    try:
        import autogluon.core  # noqa: F401
    except ImportError:
        print("AutoGluon is not installed (pip install autogluon.core): its column is left out")
        return False
    return True


if __name__ == "__main__":
    main()
