"""Split-conformal prediction: sets and intervals with guaranteed coverage.

Guarantee: if the N calibration samples and the new samples are exchangeable (for example independent and identically
distributed) and the calibration samples were not used for training or tuning, the true value is covered with a
probability of at least `coverage`, and at most `coverage + 1 / (N + 1)` if scores have no ties. The guarantee is
marginal: it holds over all new samples, not for each group of samples.
"""

import math

import numpy as np

from keras_hyperens.calibration.temperature import checked
from keras_hyperens.calibration.temperature import numbers
from keras_hyperens.checks import is_number
from keras_hyperens.sample_weights import checked_weights
from keras_hyperens.types import ArrayLike


class ConformalSets:
    """Prediction sets that contain the true class with a given coverage: the classes with `1 - p <= threshold`.

    Args:
        coverage: In (0, 1): guaranteed probability that a set contains the true class; see this module.

    Raises:
        ValueError: If the coverage is not in (0, 1).

    Example:
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> probabilities = generator.dirichlet(np.ones(3), 2000)
    >>> labels = np.array([generator.choice(3, p=p) for p in probabilities])
    >>> sets = ConformalSets(coverage=0.9).fit(probabilities[:1000], labels[:1000]).predict(probabilities[1000:])
    >>> sets.shape, bool(sets[np.arange(1000), labels[1000:]].mean() > 0.87)
    ((1000, 3), True)

    References:
        - Sadinle et al., [Least Ambiguous Set-Valued Classifiers with Bounded Error
          Levels](https://arxiv.org/abs/1609.00451)
    """

    def __init__(self, coverage: float = 0.9) -> None:
        self.coverage = checked_coverage(coverage)
        self.threshold = math.nan

    def fit(
        self, probabilities: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "ConformalSets":
        """Fits the threshold on calibration samples: `[N, ..., C]` and classes. Returns this object.

        A single probability `[N, ..., 1]` is that of class 1 of two. A sample with a `sample_weight` of 2 counts as two
        equal samples.
        """
        probabilities, labels, weights = checked(_of_classes(probabilities), labels, sample_weight)
        scores = 1 - probabilities[np.arange(len(labels)), labels]
        self.threshold = threshold_of(scores, weights, self.coverage)
        return self

    def predict(self, probabilities: ArrayLike) -> np.ndarray:
        """Returns which classes are in the set of each sample: `[B, ..., C]`, boolean, C = 2 for one probability.

        A set is empty if no class is probable enough. With too few calibration samples for the coverage it is full.
        """
        _check_fitted(self.threshold)
        return 1 - _of_classes(probabilities) <= self.threshold


class ConformalIntervals:
    """Prediction intervals with a given coverage: `mean ± threshold * standard deviation`.

    Args:
        coverage: In (0, 1): guaranteed probability that an interval contains the target; see this module.

    Raises:
        ValueError: If the coverage is not in (0, 1).

    Example:
    >>> import numpy as np
    >>> y = np.random.default_rng(0).normal(size=(2000, 1))
    >>> prediction = np.tile([0.0, 0.01], (2000, 1))  # a mean, and a variance that is too small
    >>> intervals = ConformalIntervals(coverage=0.9).fit(prediction[:1000], y[:1000]).predict(prediction[1000:])
    >>> intervals.shape, bool(((intervals[..., 0] <= y[1000:]) & (y[1000:] <= intervals[..., 1])).mean() > 0.87)
    ((1000, 1, 2), True)

    References:
        - Lei et al., [Distribution-Free Predictive Inference for Regression](https://arxiv.org/abs/1604.04173)
    """

    def __init__(self, coverage: float = 0.9) -> None:
        self.coverage = checked_coverage(coverage)
        self.threshold = math.nan

    def fit(
        self, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "ConformalIntervals":
        """Fits the threshold on calibration samples: means and variances `[N, 2]`, targets `[N, 1]` or `[N]`.

        A sample with a `sample_weight` of 2 counts as two equal samples.
        """
        means, scales = _means_and_scales(predictions)
        targets = numbers(targets).astype("float64")
        if targets.size != means.size:
            raise ValueError(f"There must be one target for each of {len(means)} samples. Received: {targets.size}")
        weights = checked_weights(sample_weight, (len(means),))
        scores = np.abs(targets.reshape(means.shape) - means) / scales
        self.threshold = threshold_of(scores.reshape(-1), weights, self.coverage)
        return self

    def predict(self, predictions: ArrayLike) -> np.ndarray:
        """Returns the lower and upper bounds `[B, 1, 2]` for means and variances `[B, 2]`."""
        _check_fitted(self.threshold)
        means, scales = _means_and_scales(predictions)
        return np.stack([means - self.threshold * scales, means + self.threshold * scales], axis=-1)


def _of_classes(probabilities: ArrayLike) -> np.ndarray:
    """Returns probabilities `[N, ..., C]` of at least two classes."""
    probabilities = numbers(probabilities).astype("float64")
    is_one = probabilities.ndim > 1 and probabilities.shape[-1] == 1
    return np.concatenate([1 - probabilities, probabilities], axis=-1) if is_one else probabilities


def threshold_of(scores: np.ndarray, weights: np.ndarray | None, coverage: float) -> float:
    """Returns the `ceil((N + 1) * coverage)`-th smallest score, or infinity if N, the sum of weights, is too small."""
    weights = np.ones(len(scores)) if weights is None else weights
    scores, weights = scores[weights > 0], weights[weights > 0]
    if not np.isfinite(scores).all():
        raise ValueError("Calibration scores must be finite. Received: scores that are not")
    order = np.argsort(scores)
    places = weights[order].cumsum()
    first = int(np.searchsorted(places, (places[-1] + 1) * coverage - 1e-9))
    return math.inf if first == len(scores) else float(scores[order[first]])


def _means_and_scales(predictions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predictions = np.asarray(predictions, "float64")
    if predictions.ndim != 2 or predictions.shape[-1] != 2 or not len(predictions) or (predictions[:, 1] <= 0).any():
        raise ValueError(
            "Predictions must be [N, 2]: means and positive variances; for several targets create one object each. "
            f"Received: shape={predictions.shape}"
        )
    return predictions[:, :1], np.sqrt(predictions[:, 1:])


def checked_coverage(coverage: float) -> float:
    """Returns the coverage; raises a `ValueError` unless it is in (0, 1)."""
    if not (is_number(coverage) and 0 < coverage < 1):
        raise ValueError(f"`coverage` must be in (0, 1). Received: coverage={coverage!r}")
    return coverage


def _check_fitted(threshold: float) -> None:
    if math.isnan(threshold):
        raise ValueError("Call `fit` on calibration samples first. Received: an object that was not fitted")
