"""Conformal intervals: a band around the prediction, widened by a threshold times a scale.

A target y has the score `max(lower - y, y - upper) / scale` with respect to its band `[lower, upper]`, negative inside
of the band. The threshold is a quantile of the scores of held-out data. The band is a point for values (scale 1) and
Gaussians (scale: standard deviation). For predicted quantiles (conformalized quantile regression, scale 1) it reaches
from the lowest to the highest quantile.

Quantiles may cross, and a negative threshold may exceed half the width of a band. Such an interval would be empty; its
two bounds are the middle of the band, which can only increase the coverage.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_hyperens.calibration.conformal import threshold_of
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.sample_weights import checked_weights


@dataclass(frozen=True)
class Intervals:
    """Conformal intervals of one output.

    Attributes:
        method: `"interval"`, or `"quantile"` for predicted quantiles.
        thresholds: One threshold per target, D in total.

    References:
        - Lei et al., [Distribution-Free Predictive Inference for Regression](https://arxiv.org/abs/1604.04173)
        - Romano et al., [Conformalized Quantile Regression](https://arxiv.org/abs/1905.03222)
    """

    method: str
    thresholds: tuple[float, ...]

    def of(self, prediction: Any, likelihood: Likelihood) -> Any:
        """Returns the lower and upper bounds of each target, `[B, ..., D, 2]`; an empty interval becomes its middle."""
        lower, upper, scale = likelihood.band(prediction, len(self.thresholds))
        margin = scale * ops.convert_to_tensor(list(self.thresholds), scale.dtype)
        middle = (lower + upper) / 2
        return ops.stack([ops.minimum(lower - margin, middle), ops.maximum(upper + margin, middle)], axis=-1)

    @classmethod
    def fitted(
        cls,
        prediction: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        coverage: float,
        method: str,
        likelihood: Likelihood,
    ) -> "Intervals":
        """Fits intervals that contain each target with the probability `coverage`.

        Args:
            prediction: Predictions on held-out data, `[N, ...]`, with two axes.
            targets: `[N, D]`.
            weights: `[N]`, positive: a weight of 2 counts as two equal samples. `None` for equal weights.
            coverage: In (0, 1).
            method: `"interval"` or `"quantile"`.
            likelihood: Likelihood of the predictions.

        Raises:
            ValueError: If predictions or targets are not finite.

        Example:
        >>> import numpy as np
        >>> from keras_hyperens.likelihoods import Value
        >>> prediction, targets = np.zeros((4, 1), "float32"), np.array([[0.1], [-0.2], [0.3], [0.4]])
        >>> intervals = Intervals.fitted(prediction, targets, None, coverage=0.6, method="interval", likelihood=Value())
        >>> intervals.of(prediction[:1], Value()).numpy()
        array([[[-0.3,  0.3]]], dtype=float32)
        """
        number, weights = targets.shape[-1], checked_weights(weights, (len(targets),))
        band = likelihood.band(ops.convert_to_tensor(prediction), number)
        lower, upper, scale = (ops.convert_to_numpy(each).astype("float64") for each in band)
        scores = np.maximum(lower - targets, targets - upper) / scale
        return cls(method, tuple(threshold_of(scores[:, each], weights, coverage) for each in range(number)))
