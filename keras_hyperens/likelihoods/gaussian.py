"""Gaussian outputs: D means and D logarithms of standard deviations; predictions are D means and D variances."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_hyperens.calibration import fit_variance_scale
from keras_hyperens.likelihoods.likelihood import SMALLEST
from keras_hyperens.likelihoods.likelihood import Combination
from keras_hyperens.likelihoods.likelihood import Likelihood
from keras_hyperens.likelihoods.likelihood import at_least_float32
from keras_hyperens.likelihoods.likelihood import labels_like
from keras_hyperens.likelihoods.likelihood import safe_log
from keras_hyperens.types import Loss
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty import by_kind
from keras_hyperens.uncertainty import gaussian_mixture


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """D independent Gaussians per sample; members are combined as a mixture, and a temperature scales variances."""

    losses = frozenset({"GaussianNegativeLogLikelihood"})
    description = "Gaussians"
    measures = by_kind.OF_GAUSSIANS
    default_measures = ("total_variance", "aleatoric_variance", "epistemic_variance")
    metrics_of_loss = ("loss", "nll")

    @property
    def name(self) -> str:
        return "gaussian"

    def predict(self, raw: Tensor) -> Tensor:
        means, log_scales = ops.split(at_least_float32(raw), 2, axis=-1)
        return ops.concatenate([means, ops.exp(2 * log_scales)], axis=-1)

    def to_raw(self, prediction: Tensor) -> Tensor:
        means, variances = ops.split(prediction, 2, axis=-1)
        return ops.concatenate([means, safe_log(variances) / 2], axis=-1)

    def combine(self, members: Tensor, weights: Tensor | None = None, combination: Combination = "mean") -> Tensor:
        if combination != "mean":
            raise ValueError(f'Gaussians are combined as a mixture, by "mean". Received: combination={combination!r}')
        return gaussian_mixture(members, weights)

    def combine_raw(self, members: Tensor) -> Tensor:
        return self.to_raw(gaussian_mixture(self.predict(members)))

    def temper(self, prediction: Tensor, temperature: Tensor) -> Tensor:
        """Multiplies the variance by T."""
        means, variances = ops.split(prediction, 2, axis=-1)
        return ops.concatenate([means, variances * ops.cast(temperature, prediction.dtype)], axis=-1)

    def temper_raw(self, raw: Tensor, temperature: Tensor) -> Tensor:
        means, log_scales = ops.split(raw, 2, axis=-1)
        return ops.concatenate([means, log_scales + ops.cast(ops.log(temperature) / 2, raw.dtype)], axis=-1)

    def fit_temperature(
        self, prediction: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior_rows: float = 0.0
    ) -> float:
        means, variances = np.split(np.asarray(prediction), 2, axis=-1)
        labels = labels_like(labels, prediction, means.shape[-1])
        return fit_variance_scale(means, variances, labels, weights, prior_rows)

    def densities(self, members: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means, variances = np.split(members.astype("float64"), 2, axis=-1)
        labels = labels_like(labels, members[0], means.shape[-1])
        logarithms = -0.5 * (np.square(labels - means) / variances + np.log(variances)).sum(-1)
        logarithms = logarithms[:, weights > 0]
        return np.maximum(np.exp(logarithms - logarithms.max(0)), SMALLEST), weights[weights > 0]

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
        return "mse" if loss is None else "loss"

    def scored(
        self, predictions: list[np.ndarray], labels: np.ndarray, by_class: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Returns the means."""
        return [each[..., : each.shape[-1] // 2] for each in predictions], labels

    def moments(self, prediction: np.ndarray) -> np.ndarray:
        """Returns means and second moments."""
        means, variances = np.split(prediction, 2, axis=-1)
        return np.concatenate([means, variances + means**2], axis=-1)

    def from_moments(self, moments: np.ndarray) -> np.ndarray:
        means, seconds = np.split(moments, 2, axis=-1)
        return np.concatenate([means, seconds - means**2], axis=-1)

    def num_targets(self, labels: np.ndarray, shape: tuple[int, ...]) -> int:
        return shape[-1] // 2

    def band(self, prediction: Tensor, num_targets: int) -> tuple[Tensor, Tensor, Tensor]:
        means, variances = ops.split(prediction, 2, axis=-1)
        return means, means, ops.sqrt(ops.maximum(variances, SMALLEST))

    def neutral(self, width: int) -> np.ndarray:
        """Returns mean 0 and variance 1."""
        return np.repeat([0.0, 1.0], width // 2).astype("float32")
