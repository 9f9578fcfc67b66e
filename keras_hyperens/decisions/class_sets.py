"""Conformal sets of classes: the classes whose score is at most a threshold.

Every class c of a row has a score, and the threshold is a quantile of the scores of the true classes of held-out data:

- `"threshold"`: `1 - p_c`. The smallest sets on average; a set may be empty.
- `"aps"`: the probability of all classes that are more probable than c. Sets grow with the difficulty of the row, and
  hold the most probable class at least.
- `"raps"`: `"aps"` plus a penalty for each rank beyond a first few, for many classes with long tails.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from keras_hyperens.calibration.conformal import threshold_of

PENALTIES = (0.001, 0.01, 0.1, 0.2, 0.5)  # of RAPS, of which held-out data choose one
CHOOSING = 0.2  # the share of the held-out data that choose the penalty
FEWEST = 10  # rows for RAPS
ROUNDING = 1e-5  # what exports compute differs by less: scores that are equal to the threshold stay below it


@dataclass(frozen=True)
class ClassSets:
    """Sets of classes of one output.

    Attributes:
        method: `"threshold"`, `"aps"` or `"raps"`.
        thresholds: One for all classes, or one for each.
        rank: Of RAPS: classes of a larger rank are penalized.
        penalty: Of RAPS, for each rank more.
    """

    method: str
    thresholds: tuple[float, ...] = (math.nan,)
    rank: int = 0
    penalty: float = 0.0

    def of(self, probabilities: Any) -> Any:
        """Which classes are in the set of each row, `[B, ..., C]` of booleans."""
        scores = self.scores(probabilities)
        is_numpy = isinstance(scores, np.ndarray)
        thresholds = np.array(self.thresholds, scores.dtype) if is_numpy else ops.cast(self.thresholds, scores.dtype)
        return scores <= thresholds

    def scores(self, probabilities: Any) -> Any:
        """The score of every class, `[B, ..., C]`, in NumPy or as a tensor: the less probable a class, the higher."""
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
        """Sets that hold the true class with the probability `coverage`.

        Args:
            probabilities: Of held-out data, `[N, C]`.
            labels: True classes, `[N]`.
            weights: `[N]`, positive: a row of weight 2 counts as two equal ones. `None`: all equal.
            coverage: In (0, 1).
            method: `"threshold"`, `"aps"` or `"raps"`.
            per_class: Whether every class has a threshold of its own, from the rows of that class.

        Raises:
            ValueError: If there are fewer than ten rows for `"raps"`.

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
    """As `threshold_of`, and a little more; a class without rows is in every set."""
    return threshold_of(scores, weights, coverage) + ROUNDING if len(scores) else math.inf


def _order(probabilities: Any) -> Any:
    """The place of every class, `[..., C]`, 0 for the most probable one."""
    if isinstance(probabilities, np.ndarray):
        return np.argsort(np.argsort(-probabilities, axis=-1, kind="stable"), axis=-1)
    return ops.argsort(ops.argsort(-probabilities, axis=-1), axis=-1)


def _parts(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that choose the penalty, and the others: always the same of so many, in no order."""
    if number < FEWEST:
        raise ValueError(
            f'"raps" needs at least {FEWEST} held-out rows: a fifth of them choose its penalty. Received: {number}'
        )
    order = np.random.default_rng(0).permutation(number)
    first = int(CHOOSING * number)
    return order[:first], order[first:]


def _regularized(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, coverage: float) -> ClassSets:
    """RAPS with the rank that holds the true class so often, and the penalty that makes the smallest sets."""
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
