"""Greedy selection: ours, AutoGluon's `EnsembleSelection`, and the reference's rule in TensorFlow, side by side.

    python -m benchmarks.selection                  # every cell: T in 20, 100, 500, N in 1k, 10k, C in 10, 100
    python -m benchmarks.selection --quick

The metric is the NLL. Against AutoGluon (`pip install autogluon.core`; left out with a message where it is missing) all
make the same number of choices, with replacement, and the best prefix is taken. Against the reference (the rule of
uncertainty-baselines, in TensorFlow: every candidate's ensemble averaged anew at every step) the selection ends when K
are distinct or nothing improves. Times are medians over interleaved repetitions; `same` says whether the choices are.
"""

import argparse
import math
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import tensorflow as tf

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


def peak_bytes(function: Callable, predictions: np.ndarray, labels: np.ndarray) -> int:
    """Memory that NumPy and Python take at most while it runs, without the pool itself."""
    tracemalloc.start()
    function(predictions, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest cell alone")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    has_autogluon = _has_autogluon()
    print(f"{'T':>4}{'N':>7}{'C':>5} | {'ours':>8}{'AutoGluon':>11}{'ratio':>7} {'same':<6}", end="")
    print(f"| {'ours':>8}{'reference':>11}{'ratio':>7} {'same':<6}| {'pool':>8} {'ours takes':>10}")
    for cell in CELLS[:1] if options.quick else CELLS:
        print(_line(cell, has_autogluon, options.repetitions), flush=True)


def _line(cell: tuple[int, int, int], has_autogluon: bool, repetitions: int) -> str:
    predictions, labels = pool(*cell)
    text = "{:>4}{:>7}{:>5} | ".format(*cell)
    if has_autogluon:
        (ours, choice), (theirs, their_choice) = timed([like_autogluon, of_autogluon], predictions, labels, repetitions)
        text += f"{ours:>7.4f}s{theirs:>10.3f}s{theirs / ours:>7.0f} {choice == their_choice!s:<6}| "
        aim = AIM_OF_LARGEST if cell == (100, 10_000, 100) else AIM
        verdict = f"aim {aim}: {'met' if theirs / ours >= aim else 'MISSED'}"
    else:
        text += f"{'not installed':>33}| "
        verdict = ""
    (ours, choice), (theirs, their_choice) = timed([like_reference, of_reference], predictions, labels, repetitions)
    text += f"{ours:>7.4f}s{theirs:>10.3f}s{theirs / ours:>7.0f} {choice == their_choice!s:<6}| "
    peak = peak_bytes(like_autogluon, predictions, labels)
    return text + f"{predictions.nbytes / 2**20:>5.0f}MiB {peak / 2**20:>7.1f}MiB  {verdict}"


def _has_autogluon() -> bool:
    try:
        import autogluon.core  # noqa: F401
    except ImportError:
        print("AutoGluon is not installed (pip install autogluon.core): its column is left out")
        return False
    return True


if __name__ == "__main__":
    main()
