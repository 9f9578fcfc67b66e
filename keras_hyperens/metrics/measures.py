"""Out-of-distribution scores of samples: uncertainty measures by name, higher for out-of-distribution samples."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.metrics.checks import check_values
from keras_hyperens.metrics.classes import Form
from keras_hyperens.metrics.classes import probabilities
from keras_hyperens.metrics.confidence import others
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty import by_kind
from keras_hyperens.uncertainty import combine
from keras_hyperens.uncertainty.checks import shape_of

MEASURES = {measure.__name__: measure for measure in (*by_kind.OF_PROBABILITIES, *by_kind.OF_GAUSSIANS)}
OF_CLASSES = {measure.__name__ for measure in by_kind.OF_PROBABILITIES if measure not in by_kind.OF_VALUES} - {"energy"}
OF_SURENESS = {"max_probability", "margin"}  # higher for confident predictions
OF_NOISE = {"predictive_entropy", "expected_entropy", "energy", "total_variance", "aleatoric_variance"}
OF_ONE_MEMBER = OF_NOISE | OF_SURENESS  # the other measures compare members


def checked_measure(measure: Any) -> Any:
    """Returns a measure, also from a configuration, in stored form: `None`, a name, or an unnamed callable.

    Raises:
        ValueError: If the name is unknown.
    """
    if isinstance(measure, dict):
        measure = keras.saving.deserialize_keras_object(measure)
    named = [name for name, function in MEASURES.items() if measure in (name, function)]
    if named or measure is None or (callable(measure) and not isinstance(measure, str)):
        return named[0] if named else measure
    raise ValueError(f"`measure` must be one of {sorted(MEASURES)}, a callable or None. Received: measure={measure!r}")


def scores(y_pred: Tensor, measure: Any, dtype: str, form: Form) -> tuple[Any, Any]:
    """Returns a score per sample, and which samples lack probabilities that the measure requires, `[B]` each.

    Raises:
        ValueError: If the measure does not support predictions of that shape.
    """
    check_values(y_pred, "y_pred")
    values, wrong = (y_pred, None) if measure is None else _measured(y_pred, measure, dtype, form)
    shape = shape_of(values)
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[-1] != 1):
        raise ValueError(
            "There must be one score per sample, (batch_size,) or (batch_size, 1); for probabilities, set `measure`. "
            f"Received: measure={measure!r}, scores of shape={shape}"
        )
    score = ops.reshape(ops.cast(values, dtype), (-1,))
    return score, ops.zeros_like(score, "bool") if wrong is None else wrong


def _measured(y_pred: Tensor, measure: Any, dtype: str, form: Form) -> tuple[Any, Any]:
    members, wrong = _members(y_pred, measure), None
    if measure in OF_CLASSES:
        members, of_members = probabilities(members, dtype, form)
        wrong = ops.any(of_members, axis=0)
    if measure in OF_SURENESS:
        return _doubt(combine(members), measure), wrong
    return MEASURES.get(measure, measure)(members), wrong


def _doubt(prediction: Tensor, measure: str) -> Tensor:
    """Returns 1 minus the largest probability, or minus the margin, without cancellation."""
    rest = others(prediction)
    doubt = ops.sum(rest, axis=-1)
    return doubt + ops.max(rest, axis=-1) if measure == "margin" else doubt


def _members(y_pred: Tensor, measure: Any) -> Tensor:
    """Returns predictions `[M, B, C]`; those of a single model have one member."""
    rank = len(shape_of(y_pred))
    needs_members = measure in MEASURES and measure not in OF_ONE_MEMBER
    if rank != 3 and (rank != 2 or needs_members):
        expected = "[M, B, C]" if needs_members else "(batch_size, C), or of all members [M, B, C]"
        raise ValueError(
            f"For measure={measure!r}, `y_pred` must be predictions {expected}; metrics in `member_metrics` of "
            f"`compile` receive those of all members. Received: shape={shape_of(y_pred)}"
        )
    members = np.asarray(y_pred) if isinstance(y_pred, list | tuple) else y_pred
    return members if rank == 3 else members[None]


def measure_config(measure: Any) -> Any:
    """A measure as part of a configuration."""
    return measure if measure is None or isinstance(measure, str) else keras.saving.serialize_keras_object(measure)
