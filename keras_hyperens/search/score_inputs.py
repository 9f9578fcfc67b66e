"""Inputs of scores: labels as classes or values, samples with weights, predictions. Requires only NumPy."""

import mmap
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hyperens.checks import is_one_hot

MAPPED_BYTES = 2**30  # limit of mapped files that stay in memory, to avoid reading them again
Rows = Callable[[int], np.ndarray]  # maps candidate t to its predictions [N, C]


def class_indices(labels: np.ndarray, number: int) -> np.ndarray:
    """Returns labels as integers `[N]`; a single output is the probability of class 1 of two.

    Raises:
        ValueError: If labels are neither class indices nor one-hot.
    """
    if labels.ndim == 2 and labels.shape[1] == number > 1:
        if not is_one_hot(labels):
            raise ValueError(f"`labels` must be class indices or one-hot. Received: samples such as {labels[0]}")
        return labels.argmax(-1)
    classes = labels.astype("int64")
    if (classes != labels).any() or classes.min() < 0 or classes.max() >= max(number, 2):
        raise ValueError(
            f"`labels` must be class indices in [0, {max(number, 2)}), one per sample of the predictions. "
            f"Received: values in [{labels.min()}, {labels.max()}]"
        )
    return classes


def true_probabilities(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the probability of the true class, `[N]`."""
    if rows.shape[-1] == 1:
        return np.where(classes, rows[:, 0], 1 - rows[:, 0])
    return rows[np.arange(len(classes)), classes]


def check_probabilities(rows: np.ndarray, candidate: int) -> None:
    """Raises a `ValueError` for samples `[N, C]` that are not distributions, such as logits or several sigmoids."""
    sums = rows.sum(-1, dtype="float64")
    finite = np.isfinite(sums)
    if not finite.any():
        return
    lowest, highest = np.nanmin(rows[finite]) if not finite.all() else rows.min(), sums[finite].max()
    rounding = 1e-2 if rows.dtype == np.float16 else 1e-3
    is_one_column = rows.shape[-1] == 1
    if lowest < -rounding or highest > 1 + rounding or (sums[finite].min() < 1 - rounding and not is_one_column):
        raise ValueError(
            "`predictions` must be probabilities that sum to 1 over the last axis: apply the softmax or sigmoid first, "
            "and treat each of several binary outputs as a separate sample. Received: candidate "
            f"{candidate} with values from {lowest:.3g}, sums from {sums[finite].min():.3g} to {highest:.3g}"
        )


def reader_of(predictions: Sequence[np.ndarray], rows: np.ndarray | None, kept: np.ndarray | None) -> Rows:
    """Returns a function from candidate t to its predictions, for indices of the first axis and of flattened axes."""
    is_large = len(predictions) * predictions[0].nbytes > MAPPED_BYTES
    last = 0

    def of_candidate(t: int) -> np.ndarray:
        nonlocal last
        if is_large and t != last:
            _forget(predictions[last])
        last = t
        chosen = predictions[t] if rows is None else predictions[t][rows]
        chosen = chosen.reshape(-1, chosen.shape[-1])
        return chosen if kept is None else chosen[kept]

    return of_candidate


def weighted_rows(weights: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the indices of samples with weights, and their weights; `None` for all, and for equal weights."""
    if weights is None:
        return None, None
    weights = weights.reshape(-1)
    if not weights.any():
        raise ValueError("At least one selected sample must have a weight above 0. Received: all weights are 0")
    kept = None if weights.all() else np.flatnonzero(weights)
    weights = weights if kept is None else weights[kept]
    return kept, None if (weights == weights[0]).all() else weights


def flat_labels(labels: np.ndarray, shape: tuple[int, ...], metric: Any) -> np.ndarray:
    """Returns labels `[rows]` or `[rows, C]` for predictions of a shape."""
    number, width = int(np.prod(shape[:-1])), shape[-1]
    if labels.size == number * width and metric == "mse":
        return labels.reshape(number, width)
    if metric == "mse":
        raise ValueError(
            f'`metric="mse"` requires a value for each of {width} outputs: pass one-hot labels, or score classes by '
            f'"nll", "brier" or "accuracy". Received: labels of shape {labels.shape}, predictions of shape {shape}'
        )
    return labels.reshape(number) if labels.size == number else labels.reshape(number, width)


def _forget(array: np.ndarray) -> None:
    """Releases the memory of a mapped file that was read, because a pool may exceed the memory."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and getattr(array, "mode", None) == "r" and hasattr(mapped, "madvise"):  # except on Windows
        mapped.madvise(mmap.MADV_DONTNEED)
