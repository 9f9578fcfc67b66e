"""Greedy selection of an ensemble from a pool of candidates' predictions (NumPy only)."""

import math
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number
from keras_hyperens.sample_weights import checked_weights
from keras_hyperens.search.scores import SCORES
from keras_hyperens.search.scores import Score
from keras_hyperens.search.scores import SumOfScores
from keras_hyperens.search.scores import score_of

ROUNDING = 1e-12  # scores that differ by less, relatively, are equal
MOST = 100  # choices for each member, with replacement: weights finer than this fit noise
STOPS = ("unique", "total")


@dataclass(frozen=True)
class Selection:
    """What `greedy_selection` chose.

    Attributes:
        indices: Chosen candidates in order of choice; with replacement one can be there several times.
        trajectory: The ensemble's score after each choice. Lower is better for every metric; that of `"accuracy"` is
            the error rate.
        excluded: Candidates left out because a value that the metric reads is not finite.
    """

    indices: tuple[int, ...]
    trajectory: tuple[float, ...]
    excluded: tuple[int, ...] = ()

    @property
    def members(self) -> tuple[int, ...]:
        """The distinct candidates, in order of first choice."""
        return tuple(dict.fromkeys(self.indices))

    @property
    def weights(self) -> tuple[float, ...]:
        """The share of each of `members` in the choices; they sum to 1."""
        counts = Counter(self.indices)
        return tuple(counts[member] / len(self.indices) for member in self.members)

    def best_prefix(self) -> "Selection":
        """The choices up to the lowest score of the trajectory, the first of them if it occurs more than once."""
        length = int(np.argmin(self.trajectory)) + 1
        return Selection(self.indices[:length], self.trajectory[:length], self.excluded)


def greedy_selection(
    predictions: Any,
    labels: Any,
    ensemble_size: int,
    metric: str | Callable[[np.ndarray, np.ndarray], float] = "nll",
    *,
    sample_weight: Any = None,
    replacement: bool = True,
    stop: str = "unique",
    tolerance: float = 0.0,
    subsample: int | float | None = None,
    bagging: int | None = None,
    seed: int | None = None,
) -> Selection:
    """Builds an ensemble by adding, step by step, the candidate that improves the combined prediction most.

    The first choice is the best single candidate, so the ensemble is never worse than it on these rows. Of candidates
    whose scores are equal (up to rounding, 1e-12 relatively) the first in the pool is chosen.

    Letters: T candidates, N rows, C classes or outputs, K members.

    Args:
        predictions: Probabilities (or values, for `"mse"`), `[T, N, ..., C]`: an array, or a sequence of T arrays,
            memory-mapped if they are large. C = 1 with a metric of classes is the probability of class 1 of two.
            For several outputs a dictionary of these; the scores of the outputs are added.
        labels: Class indices `[N, ...]`, one-hot `[N, ..., C]`, or values `[N, ..., C]` for `"mse"`; a dictionary if
            `predictions` is one.
        ensemble_size: K.
        metric: `"nll"` (in nats; a probability of 0 counts as 1.2e-38), `"brier"` (sum over classes), `"accuracy"`,
            `"mse"`, or a function of labels and combined predictions `[N, C]`, better when lower; or a dictionary. A
            function must take `sample_weight` too where rows have weights.
        sample_weight: `[N, ...]`: a row of weight 2 counts as two equal rows, one of weight 0 is not read. Default: all
            equal. A dictionary if `predictions` is one; an array is for all of its outputs.
        replacement: Whether a candidate can be chosen again, and so weigh more.
        stop: `"unique"`, when K distinct candidates are chosen (or after 100 K choices), or `"total"`, after K choices.
        tolerance: A step must improve the score by more than this, else the selection ends before it has K. With
            `-math.inf` it has K members whether they improve these rows or not, which guards against overfitting them;
            a candidate that is there already is then chosen again only if that gives the best score so far.
        subsample: Use only so many rows (an integer) or this share of them (a fraction), drawn from `seed`.
        bagging: Run on so many random halves of the candidates; those chosen most often over all runs are kept, and
            weigh as often as they were chosen. Guards against overfitting the rows when T is large.
        seed: Of `subsample` and `bagging`.

    Returns:
        A `Selection`: `indices`, `members`, `weights`, `trajectory`, `excluded`, `best_prefix()`.

    Raises:
        ValueError: If there are fewer usable candidates than K, shapes do not fit, a choice is unknown, or values
            are no probabilities.

    Example:
    >>> import numpy as np
    >>> predictions = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.3, 0.7], [0.1, 0.9]], [[0.4, 0.6], [0.4, 0.6]]])
    >>> selection = greedy_selection(predictions, labels=np.array([0, 1]), ensemble_size=2)
    >>> selection.members, selection.weights, np.round(selection.trajectory, 4).tolist()
    ((0, 1), (0.5, 0.5), [0.5108, 0.4708])

    References:
        - Caruana et al., [Ensemble Selection from Libraries of
          Models](https://dl.acm.org/doi/10.1145/1015330.1015432), ICML 2004
        - Wenzel et al., [Hyperparameter Ensembles](https://arxiv.org/abs/2006.13570), NeurIPS 2020
    """
    _check_choices(metric, ensemble_size, replacement, stop, tolerance, bagging)
    random = np.random.default_rng(seed)
    score = _score(metric, predictions, labels, sample_weight, subsample, random)
    excluded = tuple(int(t) for t in np.flatnonzero(~score.finite))
    usable = int(score.finite.sum())
    if usable < 1 or (usable < ensemble_size and (stop == "unique" or not replacement)):
        raise ValueError(
            "`ensemble_size` must not exceed the number of usable candidates. "
            f"Received: ensemble_size={ensemble_size}, {len(score.finite)} candidates, "
            f"of which {list(excluded)} have values that are not finite"
        )
    settings = (ensemble_size, replacement, stop, tolerance)
    if bagging is None:
        return Selection(*_greedy(score, score.finite, *settings), excluded)
    return Selection(*_bagged(score, bagging, random, *settings), excluded)


def _score(
    metric: Any,
    predictions: Any,
    labels: Any,
    sample_weight: Any,
    subsample: int | float | None,
    random: np.random.Generator,
) -> Score | SumOfScores:
    if not isinstance(predictions, dict):
        arrays = _check_shapes(predictions, labels, sample_weight)
        return score_of(metric, *arrays, _rows(subsample, len(arrays[1]), random))
    metrics = metric if isinstance(metric, dict) else dict.fromkeys(predictions, metric)
    weights = sample_weight if isinstance(sample_weight, dict) else dict.fromkeys(predictions, sample_weight)
    if not predictions or not isinstance(labels, dict) or not set(predictions) == set(labels) == set(metrics):
        raise ValueError(
            "`predictions`, `labels` and `metric` must be dictionaries with the same keys. "
            f"Received: {list(predictions)}, {list(labels) if isinstance(labels, dict) else labels!r}, {list(metrics)}"
        )
    checked = {name: _check_shapes(predictions[name], labels[name], weights.get(name)) for name in predictions}
    number = len(next(iter(checked.values()))[1])
    rows = _rows(subsample, number, random)
    return SumOfScores([score_of(metrics[name], *arrays, rows) for name, arrays in checked.items()])


def _greedy(
    score: Score | SumOfScores, allowed: np.ndarray, size: int, replacement: bool, stop: str, tolerance: float
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    score.reset()
    allowed = allowed.copy()
    indices: list[int] = []
    trajectory: list[float] = []
    while len(set(indices) if stop == "unique" else indices) < size and len(indices) < MOST * size and allowed.any():
        added = score.if_added()
        scores = np.where(allowed & ~np.isnan(added), added, np.inf)  # what is no number is never the lowest
        chosen = _first_of_lowest(scores)
        if (
            stop == "unique"
            and tolerance < 0
            and chosen in indices
            and not _improves(min(trajectory), scores[chosen], 0.0)
        ):
            scores[indices] = np.inf  # nothing improves: it goes on with a new one
            chosen = _first_of_lowest(scores)
        if indices and not _improves(trajectory[-1], scores[chosen], tolerance):
            break
        score.add(chosen)
        indices.append(chosen)
        trajectory.append(float(added[chosen]))
        allowed[chosen] = replacement
    return tuple(indices), tuple(trajectory)


def _first_of_lowest(scores: np.ndarray) -> int:
    lowest = scores.min()
    return int(np.argmax(scores <= lowest + ROUNDING * max(1.0, abs(lowest))))


def _improves(before: float, after: float, tolerance: float) -> bool:
    if tolerance < 0:
        return before - after > tolerance
    return before - after > tolerance + ROUNDING * max(1.0, abs(before))


def _bagged(
    score: Score | SumOfScores,
    bags: int,
    random: np.random.Generator,
    size: int,
    replacement: bool,
    stop: str,
    tolerance: float,
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The choices of all bags, of the candidates chosen most often, and the score after each of them."""
    usable = np.flatnonzero(score.finite)
    chosen: list[int] = []
    for _ in range(bags):
        allowed = np.zeros(len(score.finite), bool)
        allowed[random.choice(usable, -(-len(usable) // 2), replace=False)] = True
        chosen += _greedy(score, allowed, size, replacement, stop, tolerance)[0]
    kept = {index for index, _ in Counter(chosen).most_common(size)}
    indices = tuple(index for index in chosen if index in kept)
    score.reset()
    trajectory = []
    for index in indices:
        trajectory.append(float(score.if_added()[index]))
        score.add(index)
    return indices, tuple(trajectory)


def _check_choices(metric: Any, size: int, replacement: bool, stop: str, tolerance: float, bagging: int | None) -> None:
    for each in metric.values() if isinstance(metric, dict) else [metric]:
        if not callable(each) and each not in SCORES:
            raise ValueError(f"`metric` must be one of {tuple(SCORES)} or a function. Received: metric={metric!r}")
    if stop not in STOPS:
        raise ValueError(f"`stop` must be one of {STOPS}. Received: stop={stop!r}")
    for name, value in (("ensemble_size", size), ("bagging", bagging)):
        if not (value is None and name == "bagging") and not (is_integer(value) and value >= 1):
            raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}")
    if not isinstance(tolerance, int | float) or math.isnan(tolerance):
        raise ValueError(f"`tolerance` must be a number. Received: tolerance={tolerance!r}")


def _check_shapes(
    predictions: Any, labels: Any, sample_weight: Any
) -> tuple[Sequence[np.ndarray], np.ndarray, np.ndarray | None]:
    labels = np.asarray(labels)
    predictions = list(predictions)
    if not predictions or not labels.size:
        raise ValueError(
            f"At least one candidate and one row are needed. Received: {len(predictions)} candidates, "
            f"labels of shape {labels.shape}"
        )
    shapes = {np.shape(each) for each in predictions}
    shape = next(iter(shapes))
    one_shape = len(shapes) == 1 and len(shape) >= 2
    if not one_shape or labels.shape not in (shape, shape[:-1], (*shape[:-1], 1)):
        raise ValueError(
            "`predictions` must be [T, N, ..., C] and `labels` [N, ...] or [N, ..., C]. "
            f"Received: predictions of shapes {sorted(shapes)}, labels of shape {labels.shape}"
        )
    arrays = [np.asanyarray(each) for each in predictions]
    for name, array in (("labels", labels), ("predictions", arrays[0])):
        if array.dtype.kind in "OSU":
            raise ValueError(f"`{name}` must be numbers: encode strings as 0, 1, ... Received: dtype={array.dtype}")
    return arrays, labels, checked_weights(sample_weight, shape[:-1])


def _rows(subsample: int | float | None, number: int, random: np.random.Generator) -> np.ndarray | None:
    if subsample is None:
        return None
    size = math.ceil(subsample * number) if is_number(subsample) and not is_integer(subsample) else subsample
    if not is_integer(size) or not 1 <= size <= number:
        raise ValueError(
            f"`subsample` must be a number of rows up to {number}, or a fraction. Received: subsample={subsample!r}"
        )
    return np.sort(random.choice(number, size, replace=False))
