"""What scores of classes ask of labels and predictions: classes, and probabilities of them. NumPy alone."""

import numpy as np

from keras_hyperens.checks import is_one_hot


def class_indices(labels: np.ndarray, number: int) -> np.ndarray:
    """Labels as integers `[N]`; one class means the probability of class 1 of two.

    Raises:
        ValueError: If labels are neither class indices nor one-hot.
    """
    if labels.ndim == 2 and labels.shape[1] == number > 1:
        if not is_one_hot(labels):
            raise ValueError(f"`labels` must be class indices or one-hot. Received: rows such as {labels[0]}")
        return labels.argmax(-1)
    classes = labels.astype("int64")
    if (classes != labels).any() or classes.min() < 0 or classes.max() >= max(number, 2):
        raise ValueError(
            f"`labels` must be class indices in [0, {max(number, 2)}), one for each row of the predictions. "
            f"Received: values in [{labels.min()}, {labels.max()}]"
        )
    return classes


def true_probabilities(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The probability of the true class, `[N]`."""
    if rows.shape[-1] == 1:
        return np.where(classes, rows[:, 0], 1 - rows[:, 0])
    return rows[np.arange(len(classes)), classes]


def check_probabilities(rows: np.ndarray, candidate: int) -> None:
    """Raises a `ValueError` for rows `[N, C]` that are no distributions, logits or K sigmoids for example."""
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
            "and give each of several yes-or-no outputs rows of its own. Received: candidate "
            f"{candidate} with values from {lowest:.3g}, sums from {sums[finite].min():.3g} to {highest:.3g}"
        )
