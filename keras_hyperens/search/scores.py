"""Scores of an ensemble that grows by one candidate at a time, never computed from scratch. Lower is better.

A score holds what its metric needs of T candidates and of the running sum of those chosen, and answers one question:
what would the ensemble's score be if candidate t joined it now, for all t at once.
"""

import mmap
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

GROUP = 8  # probabilities multiplied before a logarithm is taken: even 8 of the smallest stay a legal float64
SMALLEST = float(np.finfo("float32").tiny)  # stands in for a probability of 0
BLOCK_BYTES = 2**22  # fits a cache
MAPPED_BYTES = 2**30  # of a pool whose mapped files stay in memory: to read them again costs time
Rows = Callable[[int], np.ndarray]  # candidate t to its predictions [N, C]


class Score:
    """A score of the mean of the chosen candidates' predictions. Abstract.

    Args:
        rows: Gives the predictions `[N, C]` of candidate t; read as seldom as the metric allows.
        candidates: T.
        labels: What the predictions should be, `[N]` or `[N, C]`.
    """

    def __init__(self, rows: Rows, candidates: int, labels: np.ndarray) -> None:
        self.rows, self.candidates, self.labels = rows, candidates, labels
        self.finite = np.ones(candidates, bool)  # [T], False where the metric read something that is not a number
        self.prepare()
        self.reset()

    def prepare(self) -> None:
        """Reads what is needed for all steps, and marks candidates that are not finite."""
        raise NotImplementedError

    def reset(self) -> None:
        """Empties the ensemble."""
        self.count = 0

    def if_added(self) -> np.ndarray:
        """`[T]`: the score with each candidate added."""
        raise NotImplementedError

    def add(self, candidate: int) -> None:
        self.count += 1


class NegativeLogLikelihood(Score):
    """Needs the probability of the true class alone, `[T, N]`, and one vectorised pass a step."""

    def prepare(self) -> None:
        first = self.rows(0)
        classes = class_indices(self.labels, first.shape[-1])
        number = len(classes)
        self.width = -(-number // GROUP)
        self.probabilities = np.zeros((self.candidates, GROUP * self.width))
        for t in range(self.candidates):
            of_truth = true_probabilities(self.rows(t), classes)
            self.finite[t] = np.isfinite(of_truth).all()
            check_probabilities(of_truth, t)
            self.probabilities[t, :number] = of_truth
        self.number = number
        self.probabilities[~self.finite] = 0
        np.maximum(self.probabilities[:, :number], SMALLEST, out=self.probabilities[:, :number])

    def reset(self) -> None:
        super().reset()
        self.sums = np.zeros(GROUP * self.width)
        self.sums[self.number :] = 1  # padding, whose logarithm is 0

    def if_added(self) -> np.ndarray:
        sums = self.sums.reshape(GROUP, self.width)
        totals = np.empty(self.candidates)
        step = max(1, BLOCK_BYTES // (64 * self.width))
        for start in range(0, self.candidates, step):
            block = self.probabilities[start : start + step].reshape(-1, GROUP, self.width)
            product = sums[0] + block[:, 0]
            for group in range(1, GROUP):
                product *= sums[group] + block[:, group]
            totals[start : start + step] = np.log(product, out=product).sum(-1)
        return np.log(self.count + 1) - totals / self.number

    def add(self, candidate: int) -> None:
        super().add(candidate)
        self.sums += self.probabilities[candidate]


class SquaredError(Score):
    """Needs inner products of the candidates' residuals with those of the chosen: one pass for each new member."""

    def prepare(self) -> None:
        self.norms = np.empty(self.candidates)
        for t in range(self.candidates):
            self.finite[t] = np.isfinite(self.rows(t)).all()
            self.norms[t] = self.product(t, self.residuals(t))
        self.products: dict[int, np.ndarray] = {}  # chosen candidate -> [T]

    def residuals(self, t: int) -> np.ndarray:
        return (self.rows(t).astype("float64") - self.labels).ravel()

    def product(self, t: int, residuals: np.ndarray) -> float:
        return float(np.vdot(self.residuals(t), residuals)) if self.finite[t] else 0.0

    def reset(self) -> None:
        super().reset()
        self.with_sum = np.zeros(self.candidates)  # inner products with the sum of the chosen
        self.sum_norm = 0.0

    def if_added(self) -> np.ndarray:
        totals = self.sum_norm + 2 * self.with_sum + self.norms
        return totals / (self.count + 1) ** 2 / self.size

    @property
    def size(self) -> float:
        return self.labels.size

    def add(self, candidate: int) -> None:
        super().add(candidate)
        self.sum_norm += 2 * self.with_sum[candidate] + self.norms[candidate]
        if candidate not in self.products:
            chosen = self.residuals(candidate)
            self.products[candidate] = np.array([self.product(t, chosen) for t in range(self.candidates)])
        self.with_sum = self.with_sum + self.products[candidate]


class BrierScore(SquaredError):
    """The squared error against one-hot labels, summed over classes and averaged over rows."""

    def prepare(self) -> None:
        first = self.rows(0)
        check_probabilities(first, 0)
        number = first.shape[-1]
        classes = class_indices(self.labels, number)
        self.labels = classes[:, None] if number == 1 else np.eye(number)[classes]
        super().prepare()

    @property
    def size(self) -> float:
        return len(self.labels)


class ScoreOfSums(Score):
    """Needs all predictions at every step, and the running sums of those chosen, `[N, C]`. Abstract."""

    def prepare(self) -> None:
        self.shape = self.rows(0).shape
        for t in range(self.candidates):
            self.finite[t] = np.isfinite(self.rows(t)).all()

    def reset(self) -> None:
        super().reset()
        self.sums = np.zeros(self.shape)

    def with_rows(self, rows: np.ndarray) -> float:
        """The score with a candidate added that predicts these rows."""
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
        self.classes = class_indices(self.labels, self.shape[-1])
        self.step = max(1, BLOCK_BYTES // (8 * self.shape[-1]))

    def with_rows(self, rows: np.ndarray) -> float:
        right = 0
        for start in range(0, len(rows), self.step):
            block = slice(start, start + self.step)
            sums = self.sums[block] + rows[block]
            predicted = sums[:, 0] > 0.5 * (self.count + 1) if sums.shape[1] == 1 else sums.argmax(-1)
            right += int((predicted == self.classes[block]).sum())
        return 1 - right / len(rows)


class CallableScore(ScoreOfSums):
    """Any function of labels and combined predictions, the first argument."""

    def __init__(self, metric: Callable[[np.ndarray, np.ndarray], float], *of_every_score: Any) -> None:
        self.metric = metric
        super().__init__(*of_every_score)

    def with_rows(self, rows: np.ndarray) -> float:
        return float(self.metric(self.labels, (self.sums + rows) / (self.count + 1)))


class SumOfScores:
    """The sum of the scores of several outputs of the same candidates."""

    def __init__(self, scores: list[Score]) -> None:
        self.scores = scores
        self.finite = np.all([score.finite for score in scores], axis=0)

    def reset(self) -> None:
        for score in self.scores:
            score.reset()

    def if_added(self) -> np.ndarray:
        return np.sum([score.if_added() for score in self.scores], axis=0)

    def add(self, candidate: int) -> None:
        for score in self.scores:
            score.add(candidate)


SCORES = {"nll": NegativeLogLikelihood, "brier": BrierScore, "accuracy": ErrorRate, "mse": SquaredError}


def score_of(metric: Any, predictions: Sequence[np.ndarray], labels: np.ndarray, rows: np.ndarray | None) -> Score:
    """The score that a metric's name, or a function, stands for.

    Args:
        metric: A name, or a function of labels and predictions whose result is better when lower.
        predictions: Of each candidate, `[N, ..., C]`; axes between rows and classes count as rows.
        labels: `[N, ...]` or `[N, ..., C]`.
        rows: Indices of the rows (first axis) to use, or `None` for all.
    """

    is_large = len(predictions) * predictions[0].nbytes > MAPPED_BYTES
    last = 0

    def of_candidate(t: int) -> np.ndarray:
        nonlocal last
        if is_large and t != last:
            _forget(predictions[last])
        last = t
        chosen = predictions[t] if rows is None else predictions[t][rows]
        return chosen.reshape(-1, chosen.shape[-1])

    if rows is not None:
        labels = labels[rows]
    number, classes = of_candidate(0).shape
    if labels.size == number:
        labels = labels.reshape(number, 1) if metric == "mse" else labels.reshape(number)
    else:
        labels = labels.reshape(number, classes)
    score = SCORES[metric] if metric in SCORES else partial(CallableScore, metric)
    return score(of_candidate, len(predictions), labels)


def _forget(array: np.ndarray) -> None:
    """Gives back the memory of a mapped file that was read: a pool may be larger than the memory."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and getattr(array, "mode", None) == "r" and hasattr(mapped, "madvise"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)


def class_indices(labels: np.ndarray, number: int) -> np.ndarray:
    """Labels as integers `[N]`; one class means the probability of class 1 of two.

    Raises:
        ValueError: If labels are neither class indices nor one-hot.
    """
    if labels.ndim == 2 and labels.shape[1] == number > 1:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(-1) == 1).all()):
            raise ValueError(f"`labels` must be class indices or one-hot. Received: rows such as {labels[0]}")
        return labels.argmax(-1)
    classes = labels.astype("int64")
    if (classes != labels).any() or classes.min() < 0 or classes.max() >= max(number, 2):
        raise ValueError(
            f"`labels` must be class indices in [0, {max(number, 2)}), one for each row of the predictions. "
            f"Received: values in [{labels.min()}, {labels.max()}]"
        )
    return classes


def true_probabilities(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The probability of the true class, `[N]`."""
    if rows.shape[-1] == 1:
        return np.where(classes, rows[:, 0], 1 - rows[:, 0])
    return rows[np.arange(len(classes)), classes]


def check_probabilities(values: np.ndarray, candidate: int) -> None:
    """Raises a `ValueError` for what cannot be probabilities, logits for example."""
    values = values[np.isfinite(values)]
    if len(values) and ((values < -1e-3).any() or (values > 1 + 1e-3).any()):
        raise ValueError(
            "`predictions` must be probabilities: apply the softmax or sigmoid first. Received: candidate "
            f"{candidate} with values in [{values.min():.3g}, {values.max():.3g}]"
        )
