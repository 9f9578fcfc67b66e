"""Coverage of the intervals of Gaussian predictions."""

from statistics import NormalDist
from typing import Any

import keras
from keras import ops

from keras_hyperens.metrics.checks import spoiled
from keras_hyperens.metrics.gaussians import MeanOverGaussians
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class IntervalCoverage(MeanOverGaussians):
    """Fraction of labels inside the central interval of their Gaussian, `|y - m| <= z s`.

    m and s are the predicted mean and standard deviation, and z is the quantile of the standard Gaussian at
    `(1 + coverage) / 2`. A calibrated prediction reaches `coverage`; an overconfident one has a lower value.

    Args:
        coverage: The probability of the interval, in (0, 1). Defaults to 0.9.
        name: Name of the metric.
        from_log_scale: Whether predictions are means and logarithms of standard deviations (raw outputs of a network)
            instead of means and variances (predictions of an ensemble). Defaults to `False`.

    Input shape:
        `y_true`: labels `(batch_size, ..., D)`; with D = 1 the last axis is optional.
        `y_pred`: means and variances `(batch_size, ..., 2D)`.

    Raises:
        ValueError: If `coverage` is out of range, the last axis of predictions is odd, shapes do not match, or
            variances are negative.

    Example:
    >>> import numpy as np
    >>> metric = IntervalCoverage(coverage=0.95)
    >>> metric.update_state(np.array([1.9, 2.0]), np.array([[0.0, 1.0], [0.0, 1.0]]))  # upper bound 1.96
    >>> float(metric.result())
    0.5

    References:
        - Kuleshov et al., [Accurate Uncertainties for Deep Learning Using Calibrated
          Regression](https://arxiv.org/abs/1807.00263)
    """

    def __init__(self, coverage: float = 0.9, name: str = "coverage", **kwargs: Any) -> None:
        if not (isinstance(coverage, int | float) and 0 < coverage < 1):
            raise ValueError(f"`coverage` must be in (0, 1). Received: coverage={coverage!r}")
        super().__init__(name=name, **kwargs)
        self.coverage = coverage

    def _row_values(self, residuals: Tensor, scales: Tensor) -> Tensor:
        reach = NormalDist().inv_cdf((1 + self.coverage) / 2)
        inside = ops.cast(ops.abs(residuals) <= reach * scales, self.dtype)
        return ops.mean(spoiled(inside, residuals + scales), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "coverage": self.coverage}
