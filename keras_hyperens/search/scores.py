"""Incremental scores of an ensemble that grows by one candidate at a time. Lower is better.

A score stores the inputs of its metric for T candidates and for the running sum of the selected ones, and computes the
score of the ensemble with each candidate t added, for all t at once.
"""

import inspect
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from keras_hyperens.calibration.member_weights import most_likely_weights
from keras_hyperens.calibration.member_weights import shortest_weights
from keras_hyperens.search.score_inputs import Rows
from keras_hyperens.search.score_inputs import check_probabilities
from keras_hyperens.search.score_inputs import class_indices
from keras_hyperens.search.score_inputs import flat_labels
from keras_hyperens.search.score_inputs import reader_of
from keras_hyperens.search.score_inputs import true_probabilities
from keras_hyperens.search.score_inputs import weighted_rows

GROUP = 8  # number of probabilities multiplied before a logarithm: the product of the smallest 8 is a valid float64
SMALLEST = float(np.finfo("float32").tiny)  # replaces a probability of 0
BLOCK_BYTES = 2**22  # fits the cache


class Score:
    """Score of the mean prediction of the selected candidates. Abstract.

    Args:
        rows: Function that returns the predictions `[N, C]` of candidate t; called as rarely as possible.
        candidates: T.
        labels: Labels, `[N]` or `[N, C]`.
        weights: Sample weights, `[N]` and positive, or `None` for equal weights.

    Attributes:
        positions: Number of positions per sample.
    """

    positions: int = 1

    def __init__(self, rows: Rows, candidates: int, labels: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.rows, self.candidates, self.labels, self.weights = rows, candidates, labels, weights
        self.finite = np.ones(candidates, bool)  # [T], False for candidates with non-finite values
        self.prepare()
        self.reset()

    def prepare(self) -> None:
        """Reads the inputs of all steps, and marks candidates that are not finite."""
        raise NotImplementedError

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return len(self.labels) if self.weights is None else float(self.weights.sum())

    @property
    def num_samples(self) -> float:
        """The number of samples, where a weight of 2 counts as two."""
        return self.total / self.positions

    def reset(self) -> None:
        """Removes all candidates from the ensemble."""
        self.count = 0

    def if_added(self) -> np.ndarray:
        """Returns the score with each candidate added, `[T]`."""
        raise NotImplementedError

    def add(self, candidate: int) -> None:
        self.count += 1

    def convex_weights(self, members: Sequence[int], start: np.ndarray) -> np.ndarray | None:
        """Returns the weights of the selected members with the lowest score, `[K]`; `None` for nonconvex scores.

        Args:
            members: All added candidates, without repetition.
            start: Initial weights, positive with a sum of 1.
        """
        return None


class NegativeLogLikelihood(Score):
    """Requires the probability of the true class, `[T, N]`, and one vectorized pass per step."""

    def prepare(self) -> None:
        first = self.rows(0)
        classes = class_indices(self.labels, first.shape[-1])
        number = len(classes)
        self.group = GROUP if self.weights is None else 1  # a product has a single weight
        self.width = -(-number // self.group)
        self.probabilities = np.zeros((self.candidates, self.group * self.width))
        for t in range(self.candidates):
            rows = self.rows(t)
            check_probabilities(rows, t)
            of_truth = true_probabilities(rows, classes)
            self.finite[t] = np.isfinite(of_truth).all()
            self.probabilities[t, :number] = of_truth
        self.number = number
        self.probabilities[~self.finite] = 0
        np.maximum(self.probabilities[:, :number], SMALLEST, out=self.probabilities[:, :number])

    def reset(self) -> None:
        super().reset()
        self.sums = np.zeros(self.group * self.width)
        self.sums[self.number :] = 1  # padding with a logarithm of 0

    def if_added(self) -> np.ndarray:
        sums = self.sums.reshape(self.group, self.width)
        totals = np.empty(self.candidates)
        step = max(1, BLOCK_BYTES // (64 * self.width))
        for start in range(0, self.candidates, step):
            block = self.probabilities[start : start + step].reshape(-1, self.group, self.width)
            product = sums[0] + block[:, 0]
            for group in range(1, self.group):
                product *= sums[group] + block[:, group]
            logarithms = np.log(product, out=product)
            totals[start : start + step] = logarithms.sum(-1) if self.weights is None else logarithms @ self.weights
        return np.log(self.count + 1) - totals / self.total

    def add(self, candidate: int) -> None:
        super().add(candidate)
        self.sums += self.probabilities[candidate]

    def convex_weights(self, members: Sequence[int], start: np.ndarray) -> np.ndarray:
        return most_likely_weights(self.probabilities[list(members), : self.number], start, self.weights)


class SquaredError(Score):
    """Requires inner products of the candidates' residuals with those of the selected: one pass per new member."""

    def prepare(self) -> None:
        self.norms = np.empty(self.candidates)
        for t in range(self.candidates):
            self.finite[t] = np.isfinite(self.rows(t)).all()
            self.norms[t] = self.product(t, self.residuals(t))
        self.products: dict[int, np.ndarray] = {}  # selected candidate -> [T]

    def residuals(self, t: int) -> np.ndarray:
        residuals = self.rows(t).astype("float64") - self.labels
        return (residuals if self.weights is None else residuals * np.sqrt(self.weights)[:, None]).ravel()

    def product(self, t: int, residuals: np.ndarray) -> float:
        return float(np.vdot(self.residuals(t), residuals)) if self.finite[t] else 0.0

    def reset(self) -> None:
        super().reset()
        self.with_sum = np.zeros(self.candidates)  # inner products with the sum of the selected
        self.sum_norm = 0.0

    def if_added(self) -> np.ndarray:
        totals = self.sum_norm + 2 * self.with_sum + self.norms
        return totals / (self.count + 1) ** 2 / self.size

    @property
    def size(self) -> float:
        return self.total * self.labels.shape[-1]

    def add(self, candidate: int) -> None:
        super().add(candidate)
        self.sum_norm += 2 * self.with_sum[candidate] + self.norms[candidate]
        if candidate not in self.products:
            chosen = self.residuals(candidate)
            self.products[candidate] = np.array([self.product(t, chosen) for t in range(self.candidates)])
        self.with_sum = self.with_sum + self.products[candidate]

    def convex_weights(self, members: Sequence[int], start: np.ndarray) -> np.ndarray:
        return shortest_weights(np.stack([self.products[member][list(members)] for member in members]), start)


class BrierScore(SquaredError):
    """Squared error with respect to one-hot labels, summed over classes and averaged over samples."""

    def prepare(self) -> None:
        for t in range(self.candidates):
            check_probabilities(self.rows(t), t)
        number = self.rows(0).shape[-1]
        classes = class_indices(self.labels, number)
        self.labels = classes[:, None] if number == 1 else np.eye(number)[classes]
        super().prepare()

    @property
    def size(self) -> float:
        return self.total


class ScoreOfSums(Score):
    """Requires all predictions at every step, and the running sums of the selected ones, `[N, C]`. Abstract."""

    def prepare(self) -> None:
        self.shape = self.rows(0).shape
        for t in range(self.candidates):
            self.finite[t] = np.isfinite(self.rows(t)).all()

    def reset(self) -> None:
        super().reset()
        self.sums = np.zeros(self.shape)

    def with_rows(self, rows: np.ndarray) -> float:
        """Returns the score with an added candidate with these predictions."""
        raise NotImplementedError

    def if_added(self) -> np.ndarray:
        return np.array([self.with_rows(self.rows(t)) if self.finite[t] else np.inf for t in range(self.candidates)])

    def add(self, candidate: int) -> None:
        super().add(candidate)
        self.sums += self.rows(candidate)


class ErrorRate(ScoreOfSums):
    """One minus the accuracy."""

    def prepare(self) -> None:
        super().prepare()
        for t in range(self.candidates):
            check_probabilities(self.rows(t), t)
        self.classes = class_indices(self.labels, self.shape[-1])
        self.step = max(1, BLOCK_BYTES // (8 * self.shape[-1]))

    def with_rows(self, rows: np.ndarray) -> float:
        right = 0.0
        for start in range(0, len(rows), self.step):
            block = slice(start, start + self.step)
            sums = self.sums[block] + rows[block]
            predicted = sums[:, 0] > 0.5 * (self.count + 1) if sums.shape[1] == 1 else sums.argmax(-1)
            is_right = predicted == self.classes[block]
            right += is_right.sum() if self.weights is None else is_right @ self.weights[block]
        return float(1 - right / self.total)


class CallableScore(ScoreOfSums):
    """Function of labels and combined predictions, the first argument; also of `sample_weight`, if any."""

    def __init__(self, metric: Callable[..., float], *of_every_score: Any) -> None:
        self.metric = metric
        super().__init__(*of_every_score)

    def prepare(self) -> None:
        super().prepare()
        if self.weights is not None and "sample_weight" not in inspect.signature(self.metric).parameters:
            raise ValueError(
                "With sample weights, a function as `metric` must take `sample_weight` as its third argument: "
                f"`metric(labels, predictions, sample_weight)`. Received: metric={self.metric!r}"
            )

    def with_rows(self, rows: np.ndarray) -> float:
        weighted = {} if self.weights is None else {"sample_weight": self.weights}
        return float(self.metric(self.labels, (self.sums + rows) / (self.count + 1), **weighted))


class SumOfScores:
    """Sum of the scores of several outputs of the same candidates."""

    def __init__(self, scores: list[Score]) -> None:
        self.scores = scores
        self.finite = np.all([score.finite for score in scores], axis=0)
        self.num_samples = scores[0].num_samples

    def reset(self) -> None:
        for score in self.scores:
            score.reset()

    def if_added(self) -> np.ndarray:
        return np.sum([score.if_added() for score in self.scores], axis=0)

    def add(self, candidate: int) -> None:
        for score in self.scores:
            score.add(candidate)

    def convex_weights(self, members: Sequence[int], start: np.ndarray) -> None:
        """Returns `None`: optimal weights of one output may be bad for another."""
        return None


SCORES = {"nll": NegativeLogLikelihood, "brier": BrierScore, "accuracy": ErrorRate, "mse": SquaredError}


def score_of(
    metric: Any, predictions: Sequence[np.ndarray], labels: np.ndarray, weights: Any, rows: np.ndarray | None
) -> Score:
    """Returns the score for a metric, a name or a function.

    Args:
        metric: A name, or a function of labels and predictions, lower is better.
        predictions: `[N, ..., C]` for each candidate; axes between the batch and class axis are flattened.
        labels: `[N, ...]` or `[N, ..., C]`.
        weights: `[N, ...]`, or `None`. Samples of weight 0 are not read.
        rows: Indices of the samples (first axis) to use, or `None` for all.
    """
    shape = predictions[0].shape
    if rows is not None:
        labels, weights = labels[rows], None if weights is None else weights[rows]
    kept, weights = weighted_rows(weights)
    labels = flat_labels(labels, (len(labels), *shape[1:]), metric)
    labels = labels if kept is None else labels[kept]
    make = SCORES[metric] if metric in SCORES else partial(CallableScore, metric)
    score = make(reader_of(predictions, rows, kept), len(predictions), labels, weights)
    score.positions = int(np.prod(shape[1:-1]))
    return score
