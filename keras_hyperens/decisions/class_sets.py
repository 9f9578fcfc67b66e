"""Conformal sets of classes: the classes with a score of at most a threshold.

Every class c of a sample has a score. The threshold is a quantile of the scores of the true classes of held-out data:

- `"threshold"`: `1 - p_c`. The smallest sets on average; a set may be empty.
- `"aps"`: the total probability of all classes more probable than c. Sets grow with the difficulty of the sample, and
  contain at least the most probable class.
- `"raps"`: `"aps"` plus a penalty for each rank above a limit, for many classes with long tails.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from keras_hyperens.calibration.conformal import threshold_of

PENALTIES = (0.001, 0.01, 0.1, 0.2, 0.5)  # candidates for the penalty of RAPS
CHOOSING = 0.2  # fraction of the held-out data that selects the penalty
FEWEST = 10  # samples for RAPS
ROUNDING = 1e-5  # exports differ by less: scores equal to the threshold stay below it


@dataclass(frozen=True)
class ClassSets:
    """Conformal sets of classes of one output.

    Attributes:
        method: `"threshold"`, `"aps"` or `"raps"`.
        thresholds: One for all classes, or one per class.
        rank: RAPS penalizes classes of a larger rank.
        penalty: RAPS penalty per additional rank.
    """

    method: str
    thresholds: tuple[float, ...] = (math.nan,)
    rank: int = 0
    penalty: float = 0.0

    def of(self, probabilities: Any) -> Any:
        """Returns which classes are in the set of each sample, `[B, ..., C]`, boolean."""
        scores = self.scores(probabilities)
        is_numpy = isinstance(scores, np.ndarray)
        thresholds = np.array(self.thresholds, scores.dtype) if is_numpy else ops.cast(self.thresholds, scores.dtype)
        return scores <= thresholds

    def scores(self, probabilities: Any) -> Any:
        """Returns the score of every class, `[B, ..., C]`, as NumPy or tensor: higher for less probable classes."""
        if self.method == "threshold":
            return 1 - probabilities
        xp: Any = np if isinstance(probabilities, np.ndarray) else ops
        descending = -xp.sort(-probabilities, axis=-1)
        before = xp.cumsum(descending, axis=-1) - descending
        places = xp.cumsum(xp.ones_like(descending), axis=-1)  # 1 for the most probable class
        scores = before + self.penalty * xp.maximum(places - self.rank, 0)
        return xp.take_along_axis(scores, _order(probabilities), axis=-1)

    @classmethod
    def fitted(
        cls,
        probabilities: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray | None,
        coverage: float,
        method: str,
        per_class: bool = False,
    ) -> "ClassSets":
        """Fits sets that contain the true class with the probability `coverage`.

        Args:
            probabilities: Predictions on held-out data, `[N, C]`.
            labels: True classes, `[N]`.
            weights: `[N]`, positive: a weight of 2 counts as two equal samples. `None` for equal weights.
            coverage: In (0, 1).
            method: `"threshold"`, `"aps"` or `"raps"`.
            per_class: Whether every class has its own threshold, from the samples of that class.

        Raises:
            ValueError: If there are fewer than ten samples for `"raps"`.

        Example:
        >>> import numpy as np
        >>> probabilities = np.array([[0.8, 0.15, 0.05], [0.5, 0.3, 0.2], [0.4, 0.35, 0.25]])
        >>> sets = ClassSets.fitted(probabilities, np.array([0, 1, 1]), None, coverage=0.6, method="aps")
        >>> sets.of(probabilities)
        array([[ True, False, False],
               [ True,  True, False],
               [ True,  True, False]])
        """
        sets = cls(method)
        weights = np.ones(len(labels)) if weights is None else weights
        if method == "raps":
            first, rest = _parts(len(labels))
            sets = _regularized(probabilities[first], labels[first], weights[first], coverage)
            probabilities, labels, weights = probabilities[rest], labels[rest], weights[rest]
        return sets._with_thresholds(probabilities, labels, weights, coverage, per_class)

    def _with_thresholds(
        self, probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, coverage: float, per_class: bool
    ) -> "ClassSets":
        scores = self.scores(probabilities)[np.arange(len(labels)), labels]
        classes = range(probabilities.shape[-1]) if per_class else [None]
        groups = [slice(None) if each is None else labels == each for each in classes]
        return replace(self, thresholds=tuple(_threshold(scores[g], weights[g], coverage) for g in groups))


def _threshold(scores: np.ndarray, weights: np.ndarray, coverage: float) -> float:
    """Returns `threshold_of` plus `ROUNDING`; classes without samples are in every set."""
    return threshold_of(scores, weights, coverage) + ROUNDING if len(scores) else math.inf


def _order(probabilities: Any) -> Any:
    """Returns the rank of every class, `[..., C]`, 0 for the most probable class."""
    if isinstance(probabilities, np.ndarray):
        return np.argsort(np.argsort(-probabilities, axis=-1, kind="stable"), axis=-1)
    return ops.argsort(ops.argsort(-probabilities, axis=-1), axis=-1)


def _parts(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a fixed random split of the samples: those that select the penalty, and the others."""
    if number < FEWEST:
        raise ValueError(
            f'"raps" needs at least {FEWEST} held-out samples: a fifth of them selects the penalty. Received: {number}'
        )
    order = np.random.default_rng(0).permutation(number)
    first = int(CHOOSING * number)
    return order[:first], order[first:]


def _regularized(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, coverage: float) -> ClassSets:
    """Fits RAPS with the rank that reaches the coverage, and the penalty with the smallest sets."""
    ranks = 1.0 + _order(probabilities)[np.arange(len(labels)), labels]
    rank = min(threshold_of(ranks, weights, coverage), probabilities.shape[-1])
    candidates: Sequence[ClassSets] = [
        ClassSets("raps", rank=int(rank), penalty=penalty)._with_thresholds(
            probabilities, labels, weights, coverage, False
        )
        for penalty in PENALTIES
    ]

    def mean_size(sets: ClassSets) -> float:
        return float(np.average(sets.of(probabilities).sum(-1), weights=weights))

    return replace(min(candidates, key=mean_size), thresholds=(math.nan,))
