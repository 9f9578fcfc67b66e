"""The rules that are compared: each gives weights `[T]` of candidates, of K members at most."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from keras_hyperens.calibration import fit_temperature
from keras_hyperens.search.selection import Selection
from keras_hyperens.search.selection import greedy_selection

SMALLEST = 1e-38
STEPS = 100  # of expectation maximization
Rule = Callable[[np.ndarray, np.ndarray, int, str, int], np.ndarray]  # predictions, labels, K, metric, seed to weights


def _weights(selection: Selection, number: int) -> np.ndarray:
    weights = np.zeros(number)
    weights[list(selection.members)] = selection.weights
    return weights


def _equal(weights: np.ndarray) -> np.ndarray:
    return (weights > 0) / (weights > 0).sum()


def _greedy(**settings: object) -> Rule:
    def rule(predictions: np.ndarray, labels: np.ndarray, size: int, metric: str, seed: int) -> np.ndarray:
        arguments = {"tolerance": -math.inf, "seed": seed, **settings}
        return _weights(greedy_selection(predictions, labels, size, metric, **arguments), len(predictions))

    return rule


def _best(size: int | None) -> Rule:
    """The mean of the best; `None`: of the best K."""

    def rule(predictions: np.ndarray, labels: np.ndarray, most: int, metric: str, seed: int) -> np.ndarray:
        singles = [greedy_selection(each[None], labels, 1, metric).trajectory[0] for each in predictions]
        weights = np.zeros(len(predictions))
        weights[np.argsort(singles, kind="stable")[: size or most]] = 1
        return _equal(weights)

    return rule


def _total(predictions: np.ndarray, labels: np.ndarray, size: int, metric: str, seed: int) -> np.ndarray:
    """As AutoGluon chooses, but of K members at most."""
    settings = dict(stop="total", max_members=size, tolerance=-math.inf)
    found = greedy_selection(predictions, labels, 25, metric, **settings)
    return _weights(found.best_prefix(), len(predictions))


def _bootstraps(predictions: np.ndarray, labels: np.ndarray, size: int, metric: str, seed: int) -> np.ndarray:
    """Greedy on 30 bootstraps of the rows; the K chosen most often."""
    random, rows = np.random.default_rng(seed), len(labels)
    counts = np.zeros(len(predictions))
    for _ in range(30):
        drawn = random.multinomial(rows, np.full(rows, 1 / rows))
        found = greedy_selection(predictions, labels, size, metric, sample_weight=drawn, tolerance=-math.inf)
        np.add.at(counts, list(found.indices), 1)
    counts[np.argsort(-counts, kind="stable")[size:]] = 0
    return counts / counts.sum()


def _halves(predictions: np.ndarray, labels: np.ndarray, size: int, metric: str, seed: int) -> np.ndarray:
    """Greedy on random halves of the rows, 30 or as many as read 30,000 rows; the K chosen most often."""
    random, rows = np.random.default_rng(seed), len(labels)
    chosen: list[int] = []
    for _ in range(min(30, 30_000 // rows)):
        half = np.sort(random.choice(rows, -(-rows // 2), replace=False))
        found = greedy_selection(predictions[:, half], labels[half], size, metric, tolerance=-math.inf)
        chosen += found.indices
    counts = np.zeros(len(predictions))
    for index, count in Counter(chosen).most_common(size):
        counts[index] = count
    return counts / counts.sum()


def _convex(rule: Rule) -> Rule:
    """Members of a rule with the weights that are most likely: the NLL is convex in them."""

    def convex(predictions: np.ndarray, labels: np.ndarray, size: int, metric: str, seed: int) -> np.ndarray:
        weights = rule(predictions, labels, size, metric, seed)
        members = np.flatnonzero(weights)
        true = predictions[members][:, np.arange(len(labels)), labels].astype("float64") + SMALLEST
        of_members = np.full(len(members), 1 / len(members))
        for _ in range(STEPS):
            shares = of_members[:, None] * true
            of_members = (shares / shares.sum(0)).mean(1)
        weights[members] = of_members
        return weights

    return convex


def _shrunk(rule: Rule, rows: float) -> Rule:
    """Weights of a rule, shrunk towards equal ones as if these had been found on so many rows."""

    def shrunk(predictions: np.ndarray, labels: np.ndarray, size: int, metric: str, seed: int) -> np.ndarray:
        weights = rule(predictions, labels, size, metric, seed)
        share = rows / (rows + len(labels))
        return (1 - share) * weights + share * _equal(weights)

    return shrunk


def _own_temperature(predictions: np.ndarray, labels: np.ndarray, size: int, metric: str, seed: int) -> np.ndarray:
    """Greedy, without replacement, whose score is the NLL after the temperature that is best for it."""
    chosen: list[int] = []
    for _ in range(size):
        scores = [
            math.inf if t in chosen else tempered_nll(predictions[[*chosen, t]].mean(0), labels)
            for t in range(len(predictions))
        ]
        chosen.append(int(np.argmin(scores)))
    return np.isin(np.arange(len(predictions)), chosen) / size


def tempered_nll(rows: np.ndarray, labels: np.ndarray) -> float:
    return nll(rows, labels, fit_temperature(rows, labels))


def nll(rows: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    logits = np.log(np.maximum(rows, SMALLEST)) / temperature
    logits -= logits.max(-1, keepdims=True)
    true = logits[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(logits).sum(-1)) - true))


GREEDY, BEST = "greedy", "mean of the best K"
DEFAULT = "greedy, convex weights shrunk by 100 rows"
RULES: dict[str, Rule] = {
    "best single": _best(1),
    BEST: _best(None),
    GREEDY: _greedy(),
    "greedy, without replacement": _greedy(replacement=False),
    "greedy, K choices": _greedy(stop="total"),
    "greedy, 25 choices of at most K": _total,
    "bagged over candidates": _greedy(bagging=30),
    "averaged over halves of the rows": _halves,
    "averaged over 30 bootstraps": _bootstraps,
    "greedy after its own temperature": _own_temperature,
    "greedy, convex weights": _greedy(weights="convex", prior_rows=0),
    "greedy, convex weights shrunk by 50 rows": _greedy(weights="convex", prior_rows=50),
    DEFAULT: _greedy(weights="convex", prior_rows=100),
    "greedy, convex weights shrunk by 200 rows": _greedy(weights="convex", prior_rows=200),
    "averaged over halves, convex weights": _convex(_halves),
    "greedy, shrunk towards equal by 100 rows": _shrunk(_greedy(), 100),
}
OF_LIKELIHOOD = ("greedy after its own temperature", "averaged over halves, convex weights")
SLOW = ("greedy after its own temperature", "averaged over 30 bootstraps")
