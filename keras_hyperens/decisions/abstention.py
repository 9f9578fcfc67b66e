"""Abstention: rejection of predictions with high uncertainty."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.checks import is_number
from keras_hyperens.sample_weights import checked_weights

ROUNDING = 1e-5  # exports differ by less: the last accepted prediction is also accepted there
HIGHER_IS_SURER = ("max_probability", "margin")  # for other measures, lower values are more confident


@dataclass(frozen=True)
class Abstention:
    """Result of `abstain`.

    Attributes:
        measures: Name of the measure of `keras_hyperens.uncertainty` for each output.
        thresholds: Threshold of each output: less confident predictions are refused.
    """

    measures: tuple[str, ...]
    thresholds: tuple[float, ...]

    def refused(self, values: Any, output: int) -> Any:
        """Returns which predictions are refused, given their measure; NaN is refused."""
        measure, threshold = self.of_output(output)
        threshold = ops.cast(threshold, values.dtype)
        is_sure = values >= threshold if measure in HIGHER_IS_SURER else values <= threshold
        return ops.logical_not(is_sure)

    def of_output(self, output: int) -> tuple[str, float]:
        """Returns the measure and threshold of an output; a single one applies to all outputs."""
        place = 0 if len(self.measures) == 1 else output
        return self.measures[place], self.thresholds[place]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Abstention":
        """Restores the result of `dataclasses.asdict`, also from JSON."""
        return cls(tuple(config["measures"]), tuple(config["thresholds"]))


def fitted_threshold(
    measure: str, values: np.ndarray, counts: np.ndarray, sample_weight: Any, answered: float
) -> float:
    """Returns the threshold that accepts at least the fraction `answered` of these predictions.

    Args:
        measure: Name of the measure.
        values: Values on held-out data, `[N, ...]`.
        counts: 1 for values that count, otherwise 0, `[N, ...]`, possibly with fewer axes than values.
        sample_weight: Sample weights, `[N, ...]`, or `None`.
        answered: Fraction in (0, 1].

    Raises:
        ValueError: If no value counts, or a value that counts is not finite.

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
            f"Held-out data must have a finite {measure} per sample. Received: {values.size} samples, "
            f"{np.isfinite(values).sum()} of them with one"
        )
    order = np.argsort(-values if measure in HIGHER_IS_SURER else values, kind="stable")
    shares = weights[order].astype("float64").cumsum()
    place = int(np.searchsorted(shares, answered * shares[-1] * (1 - 1e-9)))
    threshold = float(values[order[place]])
    rounding = ROUNDING * max(1.0, abs(threshold))
    return threshold - rounding if measure in HIGHER_IS_SURER else threshold + rounding


def check_abstention(answered: Any, threshold: Any, measure: Any) -> None:
    """Raises a `ValueError` unless exactly one of the first two is valid, and measures are names or `None`."""
    if (answered is None) == (threshold is None):
        raise ValueError(
            f"Set either `answered` or `threshold`. Received: answered={answered!r}, threshold={threshold!r}"
        )
    if answered is not None and not (is_number(answered) and 0 < answered <= 1):
        raise ValueError(f"`answered` must be in (0, 1]. Received: answered={answered!r}")
    wrong = [each for each in keras.tree.flatten(measure) if each is not None and not isinstance(each, str)]
    if wrong:
        raise ValueError(f"`measure` must be the name of a measure, for use in files. Received: measure={wrong[0]!r}")


def checked_thresholds(thresholds: list[Any]) -> tuple[float, ...]:
    """Returns the thresholds; raises a `ValueError` unless there is one number per output."""
    if not all(is_number(each) for each in thresholds):
        raise ValueError(f"`threshold` must be a finite number for each output. Received: threshold={thresholds}")
    return tuple(float(each) for each in thresholds)
