"""Combination of members, and uncertainty measures: pure functions of `[M, B, ..., C]`.

All functions take weights of the members. They use `keras.ops`, and so apply to arrays, in graphs and in exports.
"""

from keras_hyperens.uncertainty.combining import combine as combine
from keras_hyperens.uncertainty.combining import log_mean_exp as log_mean_exp
from keras_hyperens.uncertainty.combining import median as median
from keras_hyperens.uncertainty.combining import trimmed_mean as trimmed_mean
from keras_hyperens.uncertainty.confidence import energy as energy
from keras_hyperens.uncertainty.confidence import margin as margin
from keras_hyperens.uncertainty.confidence import max_probability as max_probability
from keras_hyperens.uncertainty.dispersion import dirichlet_variance as dirichlet_variance
from keras_hyperens.uncertainty.dispersion import disagreement as disagreement
from keras_hyperens.uncertainty.dispersion import score_range as score_range
from keras_hyperens.uncertainty.dispersion import standard_deviation as standard_deviation
from keras_hyperens.uncertainty.dispersion import variance as variance
from keras_hyperens.uncertainty.dispersion import variation_ratio as variation_ratio
from keras_hyperens.uncertainty.divergence import mean_kl_divergence as mean_kl_divergence
from keras_hyperens.uncertainty.divergence import sum_kl_divergence as sum_kl_divergence
from keras_hyperens.uncertainty.entropy import expected_entropy as expected_entropy
from keras_hyperens.uncertainty.entropy import mutual_information as mutual_information
from keras_hyperens.uncertainty.entropy import predictive_entropy as predictive_entropy
from keras_hyperens.uncertainty.gaussian import aleatoric_variance as aleatoric_variance
from keras_hyperens.uncertainty.gaussian import epistemic_variance as epistemic_variance
from keras_hyperens.uncertainty.gaussian import gaussian_mixture as gaussian_mixture
from keras_hyperens.uncertainty.gaussian import prediction_interval as prediction_interval
from keras_hyperens.uncertainty.gaussian import total_variance as total_variance

__all__ = [
    "aleatoric_variance",
    "combine",
    "dirichlet_variance",
    "disagreement",
    "energy",
    "epistemic_variance",
    "expected_entropy",
    "gaussian_mixture",
    "log_mean_exp",
    "margin",
    "max_probability",
    "mean_kl_divergence",
    "median",
    "mutual_information",
    "prediction_interval",
    "predictive_entropy",
    "score_range",
    "standard_deviation",
    "sum_kl_divergence",
    "total_variance",
    "trimmed_mean",
    "variance",
    "variation_ratio",
]
