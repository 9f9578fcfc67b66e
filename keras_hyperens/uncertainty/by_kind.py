"""Uncertainty measures by kind of output and name."""

from collections.abc import Callable
from typing import Any

from keras_hyperens.uncertainty import confidence
from keras_hyperens.uncertainty import dispersion
from keras_hyperens.uncertainty import divergence
from keras_hyperens.uncertainty import entropy
from keras_hyperens.uncertainty import gaussian

Measure = Callable[..., Any]

OF_VALUES: tuple[Measure, ...] = (dispersion.variance, dispersion.standard_deviation)
OF_GAUSSIANS: tuple[Measure, ...] = (
    gaussian.total_variance,
    gaussian.aleatoric_variance,
    gaussian.epistemic_variance,
    gaussian.prediction_interval,
)
OF_PROBABILITIES: tuple[Measure, ...] = (
    entropy.predictive_entropy,
    entropy.expected_entropy,
    entropy.mutual_information,
    divergence.mean_kl_divergence,
    divergence.sum_kl_divergence,
    dispersion.score_range,
    dispersion.variation_ratio,
    dispersion.disagreement,
    confidence.max_probability,
    confidence.margin,
    confidence.energy,
    *OF_VALUES,
)
OF_FINAL_OUTPUT = (entropy.predictive_entropy, confidence.max_probability, confidence.margin)
OF_MEMBERS_AND_COMBINATION = (  # these compare the two, so neither must have a temperature of the ensemble
    entropy.mutual_information,
    divergence.mean_kl_divergence,
    divergence.sum_kl_divergence,
)
