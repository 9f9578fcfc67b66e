"""Conformal sets and intervals of all outputs of an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hyperens.calibration.conformal import checked_coverage
from keras_hyperens.calibration.temperature import checked
from keras_hyperens.calibration.temperature import numbers
from keras_hyperens.decisions.class_sets import ClassSets
from keras_hyperens.decisions.intervals import Intervals
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods.likelihood import labels_like

METHODS = ("threshold", "aps", "raps", "interval", "quantile")


@dataclass(frozen=True)
class Conformal:
    """Result of `conformalize`.

    Attributes:
        coverage: Minimum probability that a set or an interval contains the true value.
        per_class: Whether the coverage holds for every class.
        outputs: Sets or intervals of each output, in the order of `keras.tree.flatten`.
    """

    coverage: float
    per_class: bool
    outputs: tuple[ClassSets | Intervals, ...]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Conformal":
        """Restores the result of `dataclasses.asdict`, also from JSON."""
        return cls(config["coverage"], config["per_class"], tuple(map(_from_config, config["outputs"])))


def check_arguments(coverage: Any, method: Any, per_class: Any) -> None:
    """Raises a `ValueError` for values that no output supports."""
    checked_coverage(coverage)
    names = keras.tree.flatten(method)
    if not names or not all(name is None or (isinstance(name, str) and name in METHODS) for name in names):
        raise ValueError(f"`method` must be one of {METHODS}, for every output. Received: method={method!r}")
    if not isinstance(per_class, bool):
        raise ValueError(f"`per_class` must be True or False. Received: per_class={per_class!r}")


def fitted(
    predictions: Sequence[Any],
    labels: Sequence[Any],
    likelihoods: Sequence[Likelihood],
    weights: Sequence[Any],
    methods: Sequence[str | None],
    coverage: float,
    per_class: bool,
) -> Conformal:
    """Fits sets and intervals that contain the true value with the probability `coverage`.

    Args:
        predictions: `[N, ..., C]` for each output, NumPy, on held-out data.
        labels: Labels of each output, as its loss takes them.
        likelihoods: Likelihood of each output.
        weights: Weight of each sample or position of each output, `[N, ...]`.
        methods: Method of each output; `None` for the default of its likelihood.
        coverage, per_class: As in `Conformal`.

    Raises:
        ValueError: If an output does not support its method, labels do not match, or values are not finite.
    """
    each = zip(predictions, labels, likelihoods, weights, methods, strict=True)
    return Conformal(coverage, per_class, tuple(_fitted(*of_output, coverage, per_class) for of_output in each))


def _fitted(
    prediction: np.ndarray,
    labels: np.ndarray,
    likelihood: Likelihood,
    weights: np.ndarray,
    method: str | None,
    coverage: float,
    per_class: bool,
) -> ClassSets | Intervals:
    known = likelihood.conformal_methods
    method = known[0] if method is None else method
    if method not in known:
        raise ValueError(f"`method` must be one of {known} for {likelihood.description}. Received: method={method!r}")
    if likelihood.has_class_probabilities:
        probabilities = likelihood.class_probabilities(prediction)
        _, classes, counts = checked(probabilities, labels, weights)  # without samples of weight 0
        return ClassSets.fitted(probabilities[weights > 0], classes, counts, coverage, method, per_class)
    if per_class:
        raise ValueError(f"`per_class` requires classes: remove it for {likelihood.description}. Received: True")
    labels = numbers(labels).astype("float64")
    targets = labels_like(labels, prediction, likelihood.num_targets(labels, prediction.shape))  # [N, ..., D]
    rows = (-1, prediction.shape[-1]), (-1, targets.shape[-1])
    prediction, targets = prediction.reshape(rows[0]), targets.reshape(rows[1])
    return Intervals.fitted(prediction, targets, weights.reshape(-1), coverage, method, likelihood)


def _from_config(config: dict[str, Any]) -> ClassSets | Intervals:
    kind = Intervals if config["method"] in ("interval", "quantile") else ClassSets
    return kind(**{**config, "thresholds": tuple(config["thresholds"])})
