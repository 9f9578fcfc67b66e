"""Conformal intervals: a band of the prediction, widened by a threshold times a scale.

A target y outside of its band `[lower, upper]` has the score `max(lower - y, y - upper) / scale`, one inside the same,
which is negative then; the threshold is a quantile of the scores of held-out data. The band is a point for values
(scale 1) and Gaussians (scale: the standard deviation), and reaches from the lowest to the highest quantile where
quantiles are predicted (conformalized quantile regression, scale 1).
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
    """Intervals of one output.

    Attributes:
        method: `"interval"`, or `"quantile"` for predicted quantiles.
        thresholds: One for each of D targets.

    References:
        - Lei et al., [Distribution-Free Predictive Inference for Regression](https://arxiv.org/abs/1604.04173)
        - Romano et al., [Conformalized Quantile Regression](https://arxiv.org/abs/1905.03222)
    """

    method: str
    thresholds: tuple[float, ...]

    def of(self, prediction: Any, likelihood: Likelihood) -> Any:
        """Lower and upper ends for each target, `[B, ..., D, 2]`."""
        lower, upper, scale = likelihood.band(prediction, len(self.thresholds))
        margin = scale * ops.convert_to_tensor(list(self.thresholds), scale.dtype)
        return ops.stack([lower - margin, upper + margin], axis=-1)

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
        """Intervals that hold each target with the probability `coverage`.

        Args:
            prediction: Of held-out data, `[N, ...]`, in two axes.
            targets: `[N, D]`.
            weights: `[N]`, positive: a row of weight 2 counts as two equal ones. `None`: all equal.
            coverage: In (0, 1).
            method: `"interval"` or `"quantile"`.
            likelihood: What the predictions are.

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
