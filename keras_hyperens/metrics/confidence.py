"""Confidence and correctness of predictions."""

from typing import Any
from typing import NamedTuple

from keras import ops

from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.types import Tensor


class Rows(NamedTuple):
    """One number per sample, `[rows]` each: all axes except the class axis are flattened."""

    confidence: Any  # the largest probability
    doubt: Any  # the sum of the others: 1 - confidence without cancellation
    correct: Any  # the label's probability of the predicted class: 0 or 1 unless labels are soft
    weight: Any


def confident_rows(rows: ClassRows) -> Rows:
    """Returns confidence, doubt, correctness and weight of every sample."""
    of_largest = ops.one_hot(
        ops.argmax(rows.probabilities, axis=-1), rows.probabilities.shape[-1], dtype=rows.probabilities.dtype
    )
    columns = Rows(
        ops.max(rows.probabilities, axis=-1),
        ops.sum(others(rows.probabilities), axis=-1),
        ops.sum(rows.truth * of_largest, axis=-1),
        rows.weight,
    )
    return Rows(*[ops.reshape(column, (-1,)) for column in columns])


def others(probabilities: Tensor) -> Tensor:
    """Returns the probabilities `[B, ..., C]` with the largest replaced by 0."""
    largest = ops.argmax(probabilities, axis=-1)
    return probabilities * (1 - ops.one_hot(largest, probabilities.shape[-1], dtype=probabilities.dtype))
