"""What metrics of confidence look at in a row: how sure the prediction is, and whether it is right."""

from typing import Any
from typing import NamedTuple

from keras import ops

from keras_hyperens.metrics.checks import row_weights
from keras_hyperens.metrics.classes import classes
from keras_hyperens.metrics.classes import probabilities
from keras_hyperens.uncertainty.checks import shape_of


class Rows(NamedTuple):
    """One number per row, `[rows]` each: all axes but that of the classes become one."""

    confidence: Any  # the largest probability
    doubt: Any  # the sum of the others: 1 - confidence, but exact where that is tiny
    correct: Any
    weight: Any


def confident_rows(y_true: Any, y_pred: Any, sample_weight: Any, dtype: str) -> Rows:
    """Confidence, doubt, correctness and weight of every row."""
    y_pred = probabilities(y_pred, dtype)  # [B, ..., C]
    predicted = ops.argmax(y_pred, axis=-1)
    labels = classes(y_true, shape_of(y_pred)[:-1], y_pred.shape[-1])
    confidence = ops.max(y_pred, axis=-1)
    columns = Rows(
        confidence,
        ops.sum(others(y_pred), axis=-1),
        ops.cast(ops.equal(ops.cast(predicted, "int32"), labels), dtype),
        row_weights(sample_weight, confidence),
    )
    return Rows(*[ops.reshape(column, (-1,)) for column in columns])


def others(probabilities: Any) -> Any:
    """The probabilities `[B, ..., C]` with 0 in place of the largest."""
    largest = ops.argmax(probabilities, axis=-1)
    return probabilities * (1 - ops.one_hot(largest, probabilities.shape[-1], dtype=probabilities.dtype))
