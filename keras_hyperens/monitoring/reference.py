"""Uncertainty of an ensemble on reference data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_hyperens.checks import is_number
from keras_hyperens.monitoring.drift import Drift
from keras_hyperens.monitoring.drift import drift_between

MOST = 1000  # values per measure, drawn at random, to limit the size of files
FEWEST = 20  # samples required by the tests


@dataclass(frozen=True)
class Reference:
    """Uncertainty measures of held-out data.

    Attributes:
        measures: Names of the measures.
        values: Values of each measure, ascending, one per stored sample.

    Example:
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> reference = Reference.of({"predictive_entropy": generator.gamma(1.0, size=500)})
    >>> reference.compared({"predictive_entropy": generator.gamma(1.0, size=100)}).alarm
    False
    >>> reference.compared({"predictive_entropy": generator.gamma(3.0, size=100)}).alarm
    True
    """

    measures: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> "Reference":
        """Stores measures by name, `[N]` each; of more than 1,000 samples a fixed random subset of 1,000.

        Raises:
            ValueError: If there is no measure, there are fewer than 20 samples, or a value is not finite.
        """
        if not (isinstance(measured, Mapping) and measured):
            raise ValueError(f"Measures must be a dictionary with at least one entry. Received: {measured!r}")
        arrays = {name: _checked(name, values) for name, values in measured.items()}
        number = _number_of_samples(arrays)
        kept = np.random.default_rng(0).permutation(number)[:MOST]
        return cls(tuple(arrays), tuple(tuple(map(float, np.sort(each[kept]))) for each in arrays.values()))

    def compared(self, measured: Mapping[str, Any], false_alarm_rate: float = 0.01) -> Drift:
        """Compares the measures of new data, `[N]` each, with the reference; see `Drift`.

        Raises:
            ValueError: If a measure is missing, there are fewer than 20 samples, a value is not finite, or the rate is
                not in (0, 1).
        """
        if not (is_number(false_alarm_rate) and 0 < false_alarm_rate < 1):
            raise ValueError(f"`false_alarm_rate` must be in (0, 1). Received: false_alarm_rate={false_alarm_rate!r}")
        if not isinstance(measured, Mapping):
            raise ValueError(f"Measures must be a dictionary. Received: {type(measured).__name__}")
        if missing := [name for name in self.measures if name not in measured]:
            raise ValueError(f"The measures {list(self.measures)} are compared. Received: none of {missing}")
        new = {name: _checked(name, measured[name]) for name in self.measures}
        _number_of_samples(new)
        old = dict(zip(self.measures, map(np.asarray, self.values), strict=True))
        return drift_between(old, new, false_alarm_rate)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Reference":
        """Restores the result of `dataclasses.asdict`, also from JSON."""
        return cls(tuple(config["measures"]), tuple(map(tuple, config["values"])))


def _checked(name: str, values: Any) -> np.ndarray:
    values = np.asarray(values)
    finite = int(np.isfinite(values).sum()) if values.dtype.kind in "biuf" else 0
    if values.ndim != 1 or len(values) < FEWEST or finite != len(values):
        raise ValueError(
            f"At least {FEWEST} samples are required, each with a finite {name}. "
            f"Received: shape={values.shape}, dtype={values.dtype}, {finite} finite values"
        )
    return values.astype("float64")


def _number_of_samples(measured: Mapping[str, np.ndarray]) -> int:
    numbers = {name: len(values) for name, values in measured.items()}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"All measures must have the same samples. Received: numbers of samples {numbers}")
    return next(iter(numbers.values()))
