"""Predictions that are refused, because they are not sure enough."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.checks import is_number
from keras_hyperens.sample_weights import checked_weights

ROUNDING = 1e-5  # what exports compute differs by less: the last prediction that is answered here is answered there
HIGHER_IS_SURER = ("max_probability", "margin")  # of every other measure lower values are surer


@dataclass(frozen=True)
class Abstention:
    """What `abstain` found.

    Attributes:
        measures: Name of the measure of `keras_hyperens.uncertainty` that is compared, of each output.
        thresholds: Of each output: less sure predictions are refused.
    """

    measures: tuple[str, ...]
    thresholds: tuple[float, ...]

    def refused(self, values: Any, output: int) -> Any:
        """Whether each prediction is refused, from its measure; one that is no number is."""
        measure, threshold = self.of_output(output)
        threshold = ops.cast(threshold, values.dtype)
        is_sure = values >= threshold if measure in HIGHER_IS_SURER else values <= threshold
        return ops.logical_not(is_sure)

    def of_output(self, output: int) -> tuple[str, float]:
        """Measure and threshold of an output; where there is one of each, they are those of all outputs."""
        place = 0 if len(self.measures) == 1 else output
        return self.measures[place], self.thresholds[place]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Abstention":
        """What `dataclasses.asdict` wrote, also after it was JSON."""
        return cls(tuple(config["measures"]), tuple(config["thresholds"]))


def fitted_threshold(
    measure: str, values: np.ndarray, counts: np.ndarray, sample_weight: Any, answered: float
) -> float:
    """The threshold with which the share `answered` of these predictions, or just more, are not refused.

    Args:
        measure: Its name.
        values: Of held-out data, `[N, ...]`.
        counts: Which of them count, `[N, ...]`: 1 or 0. It may have fewer axes than values.
        sample_weight: How much each counts, `[N, ...]`, or `None`.
        answered: In (0, 1].

    Raises:
        ValueError: If none counts, or a value that counts is not finite.

    Example:
    >>> import numpy as np
    >>> fitted_threshold("max_probability", np.array([0.9, 0.4, 0.8, 0.6]), np.ones(4), None, answered=0.75)
    0.59999
    """
    given = checked_weights(sample_weight, counts.shape)
    weights = counts if given is None else counts * given
    weights = np.broadcast_to(weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim)), values.shape)
    values, weights = values[weights > 0], weights[weights > 0]
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"Held-out data must have a finite {measure} each. Received: {values.size} samples, "
            f"{np.isfinite(values).sum()} of them with one"
        )
    order = np.argsort(-values if measure in HIGHER_IS_SURER else values, kind="stable")
    shares = weights[order].astype("float64").cumsum()
    place = int(np.searchsorted(shares, answered * shares[-1] * (1 - 1e-9)))
    threshold = float(values[order[place]])
    rounding = ROUNDING * max(1.0, abs(threshold))
    return threshold - rounding if measure in HIGHER_IS_SURER else threshold + rounding


def check_abstention(answered: Any, threshold: Any, measure: Any) -> None:
    """Raises a `ValueError` unless one of the two first is given, as it must be, and measures are names or `None`."""
    if (answered is None) == (threshold is None):
        raise ValueError(
            f"Give `answered` or `threshold`, and not both. Received: answered={answered!r}, threshold={threshold!r}"
        )
    if answered is not None and not (is_number(answered) and 0 < answered <= 1):
        raise ValueError(f"`answered` must be in (0, 1]. Received: answered={answered!r}")
    wrong = [each for each in keras.tree.flatten(measure) if each is not None and not isinstance(each, str)]
    if wrong:
        raise ValueError(f"`measure` must be the name of a measure, as files hold it. Received: measure={wrong[0]!r}")


def checked_thresholds(thresholds: list[Any]) -> tuple[float, ...]:
    """The thresholds as they are; raises a `ValueError` unless there is a number for each output."""
    if not all(is_number(each) for each in thresholds):
        raise ValueError(f"`threshold` must be a finite number for each output. Received: threshold={thresholds}")
    return tuple(float(each) for each in thresholds)
