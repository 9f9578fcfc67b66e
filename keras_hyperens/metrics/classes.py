"""Labels and probabilities of classification metrics, converted to a common form."""

from typing import Any
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_hyperens.metrics.checks import agree
from keras_hyperens.metrics.checks import check_values
from keras_hyperens.metrics.checks import is_known
from keras_hyperens.metrics.checks import row_weights
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty.checks import check_sums
from keras_hyperens.uncertainty.checks import is_concrete
from keras_hyperens.uncertainty.checks import shape_of

ROUNDING = 1e-2  # tolerance of sums of probabilities, for half precision


class Form(NamedTuple):
    """Options of a metric about labels and predictions."""

    from_logits: bool = False
    multi_label: bool = False
    ignore_class: int | None = None


class ClassRows(NamedTuple):
    """Samples in a common form. Samples of weight 0 have valid placeholder probabilities."""

    truth: Any  # [B, ..., C], distributions; `None` without labels
    probabilities: Any  # [B, ..., C]
    weight: Any  # [B, ...]
    refused: Any  # [2]: number of samples with invalid predictions, with invalid labels


def class_rows(
    y_true: Tensor, y_pred: Tensor, sample_weight: Tensor, dtype: str, form: Form, has_labels: bool = True
) -> Tensor:
    """Converts samples to `ClassRows`.

    Raises:
        ValueError: If shapes do not match, or values outside of graphs are not classes or not probabilities.
    """
    predicted, is_wrong = probabilities(y_pred, dtype, form)
    weight = row_weights(sample_weight, predicted[..., 0], y_pred)
    labels, wrong_labels = None, ops.zeros_like(is_wrong)
    if has_labels:
        is_binary = form.multi_label or shape_of(y_pred)[-1] == 1
        labels, wrong_labels, ignored = truth(y_true, predicted, is_binary, form.ignore_class)
        weight = ops.where(ignored, 0.0, weight)
    counts = weight > 0
    refused = refused_rows(counts, is_wrong, wrong_labels, dtype)
    complain(refused, y_true if has_labels else None, y_pred, predicted.shape[-1], form)
    predicted = ops.where(ops.expand_dims(counts, -1), predicted, 1 / predicted.shape[-1])
    return ClassRows(labels, predicted, weight, refused)


def probabilities(y_pred: Tensor, dtype: str, form: Form) -> tuple[Any, Any]:
    """Returns probabilities `[B, ..., C]` of at least two classes, and which samples are invalid, `[B, ...]`.

    A single probability p is that of class 1 and becomes `[1 - p, p]`, as does each of several labels.

    Raises:
        ValueError: If the batch or class axis is missing, or a value is not finite.
    """
    shape = shape_of(y_pred)
    if len(shape) < 2:
        raise ValueError(f"`y_pred` must be probabilities (batch_size, ..., C). Received: shape={shape}")
    check_values(y_pred, "y_pred")
    values = ops.cast(y_pred, dtype)
    values = ops.expand_dims(values, -1) if form.multi_label else values
    is_one = values.shape[-1] == 1
    if form.from_logits:
        both = ops.sigmoid(ops.concatenate([-values, values], axis=-1)) if is_one else ops.softmax(values, axis=-1)
        return both, ops.zeros(ops.shape(both)[:-1], "bool")
    values = ops.concatenate([1 - values, values], axis=-1) if is_one else values
    return values, ~_are_distributions(values)


def _are_distributions(values: Tensor) -> Tensor:
    """Whether samples `[B, ...]` are distributions over the last axis; NaN is accepted."""
    gap = ops.abs(ops.sum(values, axis=-1) - 1)
    return ~((gap > ROUNDING) | ops.any(values < -ROUNDING, axis=-1))


def truth(y_true: Tensor, predicted: Tensor, is_binary: bool, ignore_class: int | None) -> tuple[Any, Any, Any]:
    """Returns labels as distributions `[B, ..., C]`, and which are invalid, and which are ignored, `[B, ...]`.

    Args:
        y_true: Classes with or without a last axis of 1, or distributions (one-hot or soft); for a single probability
            also that of class 1.
        predicted: Probabilities `[B, ..., C]`.
        is_binary: Whether they were computed from a single probability.
        ignore_class: A class to ignore, or `None`.
    """
    number = predicted.shape[-1]
    labels = label_values(y_true, shape_of(predicted)[:-1], number)
    if len(labels.shape) == len(predicted.shape):
        labels = ops.cast(labels, predicted.dtype)
        wrong = ~_are_distributions(labels)
        return labels, wrong, ops.zeros_like(wrong)
    ignored = ops.zeros_like(labels, "bool") if ignore_class is None else labels == ignore_class
    if is_binary:
        of_one = ops.cast(labels, predicted.dtype)
        return ops.stack([1 - of_one, of_one], axis=-1), (labels < 0) | (labels > 1), ignored
    return ops.one_hot(ops.cast(labels, "int32"), number, dtype=predicted.dtype), no_classes(labels, number), ignored


def no_classes(labels: Tensor, number: int | None) -> Tensor:
    """Returns which labels are not classes in [0, number)."""
    wrong = labels != ops.floor(labels)
    return wrong if number is None else wrong | (labels < 0) | (labels >= number)


def label_values(y_true: Tensor, rows: Shape, number: int | None) -> Tensor:
    """Returns labels `[B, ...]`, or distributions `[B, ..., number]`, in float32 or higher precision.

    Raises:
        ValueError: If the shape differs from that of the predictions, or a value is not a finite number.
    """
    shape = shape_of(y_true)
    check_values(y_true, "y_true")
    has_axis = len(shape) == len(rows) + 1 and shape[-1] in (1, number or 1)
    if not agree(shape[:-1] if has_axis else shape, rows):
        of_classes = "" if number is None else f", or one-hot labels {(*rows, number)}"
        raise ValueError(
            f"`y_true` must be classes of shape {rows}, with or without a last axis of 1{of_classes}. "
            f"Received: shape={shape}"
        )
    labels = ops.cast(y_true, "float32")  # whole numbers up to 2^24
    return labels[..., 0] if has_axis and shape[-1] == 1 else labels


def refused_rows(counts: Tensor, wrong_predictions: Tensor, wrong_labels: Tensor, dtype: str) -> Tensor:
    """Returns the number of samples with invalid predictions and with invalid labels, `[2]`, without ignored ones."""
    return ops.stack([ops.sum(ops.cast(counts & wrong, dtype)) for wrong in (wrong_predictions, wrong_labels)])


def complain(refused: Tensor, y_true: Tensor, y_pred: Tensor, number: int | None, form: Form) -> None:
    """Raises an error for invalid values outside of graphs."""
    can_look = is_known(refused) and (is_concrete(y_pred) or is_concrete(y_true))
    if not can_look or not np.any(refused):
        return
    if is_concrete(y_pred) and refused[0]:
        _check_probabilities(np.asarray(y_pred), form.multi_label)
    if is_concrete(y_true) and refused[1]:
        _check_labels(np.asarray(y_true), number, len(shape_of(y_pred)) + form.multi_label, form)


def _check_probabilities(values: np.ndarray, multi_label: bool) -> None:
    if values.shape[-1] > 1 and not multi_label:
        return check_sums(values)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            "The probability of class 1 must be in [0, 1]; for logits create the metric with `from_logits=True`. "
            f"Received: values from {values.min():.4g} to {values.max():.4g}"
        )


def _check_labels(labels: np.ndarray, number: int | None, rank: int, form: Form) -> None:
    if labels.ndim == rank and labels.shape[-1] == number:
        sums = labels.sum(-1)
        raise ValueError(
            "One-hot labels must have one 1 per sample, and soft labels must be at least 0 and sum to 1; for several "
            "labels per sample create the metric with `multi_label=True`. "
            f"Received: sums from {sums.min():.4g} to {sums.max():.4g}"
        )
    check_classes(labels, number, form.ignore_class)


def check_classes(labels: np.ndarray, number: int | None, besides: int | None) -> None:
    """Raises a `ValueError` if a label is not a class."""
    labels = labels[labels != besides] if besides is not None else labels
    wrong = labels != np.floor(labels)
    if number is not None:
        wrong = wrong | (labels < 0) | (labels >= number)
    if wrong.any():
        kind = "whole numbers" if number is None else f"classes in [0, {number})"
        kind += "" if besides is None else f" or {besides}"
        raise ValueError(f"`y_true` must be {kind}. Received: {np.unique(labels[wrong])[:5].tolist()}")
