"""Labels and probabilities of classification metrics: the forms that they may have, made into one."""

from typing import Any

import numpy as np
from keras import ops

from keras_hyperens.metrics.checks import agree
from keras_hyperens.metrics.checks import check_values
from keras_hyperens.uncertainty.checks import check_sums
from keras_hyperens.uncertainty.checks import is_concrete
from keras_hyperens.uncertainty.checks import shape_of


def probabilities(y_pred: Any, dtype: str) -> Any:
    """Probabilities `[B, ..., C]` of at least two classes; one probability p is that of class 1 and becomes [1 - p, p].

    Raises:
        ValueError: If the axis of rows or of classes is missing, or values are no probabilities.
    """
    shape = shape_of(y_pred)
    if len(shape) < 2:
        raise ValueError(f"`y_pred` must be probabilities (batch_size, ..., C). Received: shape={shape}")
    check_values(y_pred, "y_pred")
    if is_concrete(y_pred):
        if shape[-1] == 1:
            _check_range(np.asarray(y_pred))
        else:
            check_sums(y_pred)
    y_pred = ops.cast(y_pred, dtype)
    return ops.concatenate([1 - y_pred, y_pred], axis=-1) if shape[-1] == 1 else y_pred


def _check_range(values: np.ndarray) -> None:
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            "The probability of class 1 must be in [0, 1]; apply a sigmoid to logits first. "
            f"Received: values from {values.min():.4g} to {values.max():.4g}"
        )


def classes(y_true: Any, rows: tuple[int | None, ...], number: int | None, besides: int | None = None) -> Any:
    """Classes `[B, ...]` from classes with or without a last axis of 1, or from one-hot rows.

    Args:
        y_true: The labels.
        rows: The static shape `[B, ...]` of the predictions.
        number: C, or `None` if it is not known.
        besides: A label that is no class; with it, labels are not one-hot.

    Raises:
        ValueError: If the shape is not that of the predictions, or values are no classes.
    """
    shape = shape_of(y_true)
    check_values(y_true, "y_true")
    can_be_one_hot = besides is None
    has_axis = len(shape) == len(rows) + 1 and (shape[-1] == 1 or (can_be_one_hot and shape[-1] == number))
    if not agree(shape[:-1] if has_axis else shape, rows):
        one_hot_shape = f", or one-hot rows {(*rows, number)}" if can_be_one_hot else ""
        raise ValueError(
            f"`y_true` must be classes of shape {rows}, with or without a last axis of 1{one_hot_shape}. "
            f"Received: shape={shape}"
        )
    if has_axis and shape[-1] != 1:
        _check_one_hot(y_true)
        return ops.cast(ops.argmax(ops.convert_to_tensor(y_true), axis=-1), "int32")
    if is_concrete(y_true):
        _check_classes(np.asarray(y_true), number, besides)
    y_true = ops.cast(y_true, "int32")
    return y_true[..., 0] if has_axis else y_true


def _check_one_hot(y_true: Any) -> None:
    if not is_concrete(y_true):
        return
    values = np.asarray(y_true)
    if not np.isin(values, (0, 1)).all() or (values.sum(-1) != 1).any():
        raise ValueError("One-hot labels must have one 1 per row, and 0 elsewhere. Received: other rows")


def _check_classes(labels: np.ndarray, number: int | None, besides: int | None) -> None:
    labels = labels[labels != besides] if besides is not None else labels
    wrong = labels != np.floor(labels)
    if number is not None:
        wrong = wrong | (labels < 0) | (labels >= number)
    if wrong.any():
        kind = "whole numbers" if number is None else f"classes in [0, {number})"
        kind += "" if besides is None else f" or {besides}"
        raise ValueError(f"`y_true` must be {kind}. Received: {np.unique(labels[wrong])[:5].tolist()}")


def probability_of_truth(y_true: Any, y_pred: Any, dtype: str) -> Any:
    """Probability of each row's own class, `[B, ...]`."""
    y_pred = probabilities(y_pred, dtype)
    return ops.sum(y_pred * one_hot(y_true, y_pred), axis=-1)


def one_hot(y_true: Any, y_pred: Any) -> Any:
    """Labels of any form as one-hot rows `[B, ..., C]` like the probabilities."""
    labels = classes(y_true, shape_of(y_pred)[:-1], y_pred.shape[-1])
    return ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
