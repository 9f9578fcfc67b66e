"""Checks of the arguments of plots."""

from typing import Any

import numpy as np

from keras_hyperens.uncertainty.checks import check_sums


def checked_predictions(labels: Any, probabilities: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the confidence of each sample, and whether its most probable class is correct.

    Raises:
        ValueError: If the shapes are not `[N]` and `[N, C]`, or the values are not classes and probabilities.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities) or not len(labels):
        raise ValueError(
            f"`labels` must be [N] and `probabilities` [N, C]. Received: shapes {labels.shape}, {probabilities.shape}"
        )
    check_probabilities(probabilities)
    classes = probabilities.shape[1]
    if not np.isin(labels, np.arange(classes)).all():
        raise ValueError(f"`labels` must be classes in [0, {classes}). Received: {labels[:5]}...")
    return probabilities.max(1), probabilities.argmax(1) == labels


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raises a `ValueError` unless the last axis has distributions over at least two classes."""
    if 0 in probabilities.shape or probabilities.shape[-1] < 2:
        raise ValueError(
            "Probabilities need samples and at least two classes; for a single probability p of class 1 pass "
            "[1 - p, p]. "
            f"Received: shape={probabilities.shape}"
        )
    finite_array("probabilities", probabilities)
    check_sums(probabilities)


def finite_array(name: str, values: Any, axes: str = "") -> np.ndarray:
    """Returns the values as an array.

    Args:
        name: Name of the values in errors.
        values: Values to plot.
        axes: Expected axes, as in `"[M, G]"`. Defaults to any axes.

    Raises:
        ValueError: If the axes differ, the array is empty, or values are not finite.
    """
    values = np.asarray(values, "float64")
    if (axes and values.ndim != axes.count(",") + 1) or not values.size:
        raise ValueError(f"`{name}` must be {axes or 'not empty'}. Received: shape={values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` must be finite. Received: {np.sum(~np.isfinite(values))} values that are not")
    return values


def check_scale(name: str, values: np.ndarray, scale: str) -> None:
    """Raises a `ValueError` unless `scale` is known and can display the values."""
    if scale not in ("log", "linear"):
        raise ValueError(f"`scale` must be 'log' or 'linear'. Received: scale={scale!r}")
    if scale == "log" and values.min() <= 0:
        raise ValueError(f"`{name}` must be positive on a log scale. Received: values from {values.min():.4g}")
