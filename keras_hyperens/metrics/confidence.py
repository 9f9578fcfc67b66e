"""What metrics of confidence look at in a row: how sure the prediction is, and whether it is right."""

from typing import Any
from typing import NamedTuple

from keras import ops

from keras_hyperens.metrics.classes import ClassRows
from keras_hyperens.types import Tensor


class Rows(NamedTuple):
    """One number per row, `[rows]` each: all axes but that of the classes become one."""

    confidence: Any  # the largest probability
    doubt: Any  # the sum of the others: 1 - confidence, but exact where that is tiny
    correct: Any  # the truth's probability of the predicted class: 0 or 1 unless labels are soft
    weight: Any


def confident_rows(rows: ClassRows) -> Rows:
    """Confidence, doubt, correctness and weight of every row."""
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
    """The probabilities `[B, ..., C]` with 0 in place of the largest."""
    largest = ops.argmax(probabilities, axis=-1)
    return probabilities * (1 - ops.one_hot(largest, probabilities.shape[-1], dtype=probabilities.dtype))
