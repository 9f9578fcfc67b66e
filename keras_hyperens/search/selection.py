"""Greedy selection of an ensemble from a pool of candidates' predictions. Requires only NumPy."""

import math
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np

from keras_hyperens.calibration.member_weights import PRIOR_ROWS
from keras_hyperens.calibration.member_weights import checked_prior_rows
from keras_hyperens.calibration.member_weights import shrunk
from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number
from keras_hyperens.sample_weights import checked_weights
from keras_hyperens.search.bagging import bagged
from keras_hyperens.search.scores import SCORES
from keras_hyperens.search.scores import Score
from keras_hyperens.search.scores import SumOfScores
from keras_hyperens.search.scores import score_of
from keras_hyperens.search.steps import Steps

STOPS = ("unique", "total")
WEIGHTS = ("counts", "convex")


@dataclass(frozen=True)
class Selection:
    """Result of `greedy_selection`.

    Attributes:
        indices: Selected candidates in order; with replacement, candidates can be repeated.
        trajectory: Score of the ensemble after each step. Lower is better for every metric; for `"accuracy"` it is the
            error rate.
        excluded: Candidates excluded because of non-finite values.
        convex: Fitted weights of `members`, or `None` for the selection counts.
    """

    indices: tuple[int, ...]
    trajectory: tuple[float, ...]
    excluded: tuple[int, ...] = ()
    convex: tuple[float, ...] | None = None

    @property
    def members(self) -> tuple[int, ...]:
        """The distinct candidates, in order of their first selection."""
        return tuple(dict.fromkeys(self.indices))

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of `members`: convex weights, or fractions of the selection counts; they sum to 1."""
        if self.convex is not None:
            return self.convex
        counts = Counter(self.indices)
        return tuple(counts[member] / len(self.indices) for member in self.members)

    def best_prefix(self) -> "Selection":
        """The selection up to the first minimum of the trajectory."""
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
    weights: str = "counts",
    prior_rows: float = PRIOR_ROWS,
    max_members: int | None = None,
    costs: Sequence[float] | None = None,
    cost_weight: float = 0.0,
    max_cost: float | None = None,
    seed: int | None = None,
) -> Selection:
    """Builds an ensemble by repeatedly adding the candidate that improves the combined prediction most.

    The first step selects the best single candidate, so the ensemble is never worse than it on these samples. Ties (up
    to a relative difference of 1e-12) are resolved by the order of the pool.

    Letters: T candidates, N samples, C classes or outputs, K members.

    Args:
        predictions: Probabilities (or values, for `"mse"`), `[T, N, ..., C]`: an array, or a sequence of T arrays,
            possibly memory-mapped. For classes, C = 1 is the probability of class 1 of two. For several outputs a
            dictionary of these; the scores of the outputs are added.
        labels: Class indices `[N, ...]`, one-hot `[N, ..., C]`, or values `[N, ..., C]` for `"mse"`; a dictionary if
            `predictions` is one.
        ensemble_size: K.
        metric: `"nll"` (in nats; a probability of 0 counts as 1.2e-38), `"brier"` (sum over classes), `"accuracy"`,
            `"mse"`, or a function of labels and combined predictions `[N, C]`, lower is better; or a dictionary. With
            sample weights a function must also take `sample_weight`.
        sample_weight: `[N, ...]`: a weight of 2 counts as two equal samples, samples of weight 0 are not read. Defaults
            to equal weights. A dictionary if `predictions` is one; an array applies to all outputs.
        replacement: Whether a candidate can be selected repeatedly, which increases its weight.
        stop: `"unique"`, stop when K distinct candidates are selected (or after 100 K steps), or `"total"`, after K
            steps.
        tolerance: The selection stops before K if a step does not improve the score by more than this. With
            `-math.inf` it always selects K members, which reduces overfitting; a selected candidate is then repeated
            only if that gives the best score so far.
        subsample: Number (an integer) or fraction of samples to use, drawn with `seed`.
        bagging: Number of runs on random halves of the candidates; those selected most often over all runs are kept,
            with weights by count. Reduces overfitting for large T.
        weights: `"counts"`: members are weighted by selection counts. `"convex"`: by the weights with the lowest score,
            which is convex in them except for `"accuracy"`, functions and several outputs; there counts are used.
        prior_rows: Number of pseudo-samples that shrink convex weights towards counts: few samples hardly change the
            counts.
        max_members: With `stop="total"`: maximum number of distinct candidates; then only these can be repeated.
        costs: Cost of each candidate as a member, `[T]`.
        cost_weight: Weight of the members' costs in the minimized objective, in units of the most expensive candidate:
            at 0.01 this candidate must improve the score by more than 0.01.
        max_cost: Maximum total cost of the members, in units of `costs`: candidates that exceed it are not selected,
            and there can be fewer members than K.
        seed: Seed of `subsample` and `bagging`.

    Returns:
        A `Selection`: `indices`, `members`, `weights`, `trajectory`, `excluded`, `convex`, `best_prefix()`.

    Raises:
        ValueError: If there are fewer usable candidates than K, shapes do not match, an option is unknown, or values
            are not probabilities.

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
    _check_choices(metric, ensemble_size, stop, tolerance)
    _check_weights(weights, prior_rows)
    if bagging is not None:
        _check_positive("bagging", bagging)
    _check_limits(stop, max_members, costs, cost_weight, max_cost)
    random = np.random.default_rng(seed)
    score = _score(metric, predictions, labels, sample_weight, subsample, random)
    excluded = tuple(int(t) for t in np.flatnonzero(~score.finite))
    usable = int(score.finite.sum())
    if usable < 1 or (usable < ensemble_size and (stop == "unique" or not replacement)):
        raise ValueError(
            "`ensemble_size` must not exceed the number of usable candidates. "
            f"Received: ensemble_size={ensemble_size}, {len(score.finite)} candidates, "
            f"of which {list(excluded)} have non-finite values"
        )
    checked = _checked_costs(costs, score.finite, max_cost)
    limit = math.inf if max_cost is None else max_cost
    steps = Steps(ensemble_size, replacement, stop, tolerance, checked, cost_weight, limit, max_members)
    if bagging is None:
        indices, trajectory = steps.choices(score, score.finite)
    else:
        indices, trajectory = bagged(score, steps, bagging, random)
    selection = Selection(indices, trajectory, excluded)
    return selection if weights == "counts" else _with_convex_weights(selection, score, prior_rows)


def _with_convex_weights(selection: Selection, score: Score | SumOfScores, prior_rows: float) -> Selection:
    """Returns the same members with convex weights; the score contains all of them."""
    counts = np.array(selection.weights)
    best = score.convex_weights(selection.members, counts)
    if best is None:
        return selection
    weights = shrunk(best, counts, score.num_samples, prior_rows)
    return replace(selection, convex=tuple(float(weight) for weight in weights))


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


def _check_choices(metric: Any, size: int, stop: str, tolerance: float) -> None:
    for each in metric.values() if isinstance(metric, dict) else [metric]:
        if not callable(each) and each not in SCORES:
            raise ValueError(f"`metric` must be one of {tuple(SCORES)} or a function. Received: metric={metric!r}")
    if stop not in STOPS:
        raise ValueError(f"`stop` must be one of {STOPS}. Received: stop={stop!r}")
    _check_positive("ensemble_size", size)
    if not isinstance(tolerance, int | float) or math.isnan(tolerance):
        raise ValueError(f"`tolerance` must be a number. Received: tolerance={tolerance!r}")


def _check_weights(weights: Any, prior_rows: Any) -> None:
    if weights not in WEIGHTS:
        raise ValueError(f"`weights` must be one of {WEIGHTS}. Received: weights={weights!r}")
    checked_prior_rows(prior_rows)


def _check_limits(stop: str, max_members: Any, costs: Any, cost_weight: Any, max_cost: Any) -> None:
    if max_members is not None:
        _check_positive("max_members", max_members)
        if stop != "total":
            raise ValueError(
                '`max_members` requires stop="total": with stop="unique" there are `ensemble_size` members. '
                f"Received: max_members={max_members}, stop={stop!r}"
            )
    if not is_number(cost_weight) or not 0 <= cost_weight < math.inf:
        raise ValueError(f"`cost_weight` must be a number of at least 0. Received: cost_weight={cost_weight!r}")
    if max_cost is not None and (not is_number(max_cost) or max_cost < 0):
        raise ValueError(f"`max_cost` must be a number of at least 0. Received: max_cost={max_cost!r}")
    if costs is None and (cost_weight or max_cost is not None):
        raise ValueError(
            "`cost_weight` and `max_cost` require `costs` of the candidates. "
            f"Received: costs=None, cost_weight={cost_weight}, max_cost={max_cost}"
        )


def _checked_costs(costs: Any, usable: np.ndarray, max_cost: float | None) -> np.ndarray:
    if costs is None:
        return np.zeros(len(usable))
    checked = np.asarray(costs, "float64")
    if checked.shape != usable.shape or not np.isfinite(checked).all() or checked.min() < 0:
        raise ValueError(
            f"`costs` must be a finite number of at least 0 for each of {len(usable)} candidates. "
            f"Received: costs={costs!r}"
        )
    if max_cost is not None and checked[usable].min() > max_cost:
        raise ValueError(
            f"`max_cost` must allow at least the cheapest candidate, which costs {checked[usable].min():g}. "
            f"Received: max_cost={max_cost}"
        )
    return checked


def _check_positive(name: str, value: Any) -> None:
    if not (is_integer(value) and value >= 1):
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}")


def _check_shapes(
    predictions: Any, labels: Any, sample_weight: Any
) -> tuple[Sequence[np.ndarray], np.ndarray, np.ndarray | None]:
    labels = np.asarray(labels)
    predictions = list(predictions)
    if not predictions or not labels.size:
        raise ValueError(
            f"At least one candidate and one sample are required. Received: {len(predictions)} candidates, "
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
            f"`subsample` must be a number of samples up to {number}, or a fraction. Received: subsample={subsample!r}"
        )
    return np.sort(random.choice(number, size, replace=False))
