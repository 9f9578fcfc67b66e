"""Selections with limits and costs, and convex weights, against brute force and SciPy."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize

from keras_hyperens.search import greedy_selection
from tests.search.test_selection import absolute_error
from tests.search.test_selection import loss
from tests.search.test_selection import problem


def best_weights(metric, predictions, labels, row_weights):
    """The convex weights with the lowest score, found by SciPy."""

    def score(weights):
        mean = np.tensordot(weights, predictions, 1)
        if metric == "nll":
            each = -np.log(mean[np.arange(len(labels)), labels])
        else:
            each = ((mean - (np.eye(4)[labels] if metric == "brier" else labels)) ** 2).sum(-1)
        return np.average(each, weights=row_weights)

    number = len(predictions)
    found = scipy.optimize.minimize(
        score, np.full(number, 1 / number), bounds=[(0, 1)] * number, method="SLSQP",
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1}, options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return found.x, score


@pytest.mark.parametrize("metric", ["nll", "brier", "mse"])
@pytest.mark.parametrize("weighted", [False, True])
def test_convex_weights_are_the_best_that_scipy_finds(metric, weighted):
    for seed in range(4):
        predictions, labels = problem(seed, metric, rows=60)
        row_weights = np.random.default_rng(seed).uniform(size=60) if weighted else None
        settings = dict(metric=metric, sample_weight=row_weights, tolerance=-math.inf)
        counts = greedy_selection(predictions, labels, 4, **settings)
        convex = greedy_selection(predictions, labels, 4, weights="convex", prior_rows=0, **settings)
        assert (convex.indices, convex.trajectory) == (counts.indices, counts.trajectory) and counts.convex is None
        best, score = best_weights(metric, predictions[list(counts.members)], labels, row_weights)
        assert score(np.array(convex.weights)) <= score(best) + 5e-5 and sum(convex.weights) == pytest.approx(1)
        np.testing.assert_allclose(convex.weights, best, atol=1e-2)
        shrunk = greedy_selection(predictions, labels, 4, weights="convex", prior_rows=20, **settings)
        rows = 60 if row_weights is None else row_weights.sum()
        expected = (rows * np.array(convex.weights) + 20 * np.array(counts.weights)) / (rows + 20)
        np.testing.assert_allclose(shrunk.weights, expected)


def test_convex_weights_of_positions_bags_repeated_rows_and_of_one_column():
    predictions, labels = problem(1, "nll", rows=60)
    settings = dict(weights="convex", tolerance=-math.inf)
    flat = greedy_selection(predictions, labels, 3, prior_rows=50, **settings)
    shaped = predictions.reshape(7, 12, 5, 4), labels.reshape(12, 5)
    assert greedy_selection(*shaped, 3, prior_rows=10, **settings).weights == pytest.approx(flat.weights)
    counts = np.random.default_rng(0).integers(0, 4, 60)
    repeated = greedy_selection(np.repeat(predictions, counts, 1), np.repeat(labels, counts), 3, **settings)
    weighted = greedy_selection(predictions, labels, 3, sample_weight=counts, **settings)
    np.testing.assert_allclose(weighted.weights, repeated.weights, atol=1e-5)
    bagged = greedy_selection(predictions, labels, 3, bagging=9, seed=0, prior_rows=1e9, **settings)
    by_counts = greedy_selection(predictions, labels, 3, bagging=9, seed=0, tolerance=-math.inf)
    assert bagged.weights == pytest.approx(by_counts.weights, abs=1e-6)
    yes, labels = problem(2, "nll", classes=1)
    both = np.concatenate([1 - yes, yes], -1)
    expected = greedy_selection(both, labels, 3, **settings).weights
    np.testing.assert_allclose(greedy_selection(yes, labels, 3, **settings).weights, expected)
    assert greedy_selection(yes, labels, 1, **settings).weights == (1.0,)


def test_counts_stay_where_the_score_is_not_convex_and_in_a_prefix():
    for metric in ("accuracy", absolute_error):
        predictions, labels = problem(1, metric)
        assert greedy_selection(predictions, labels, 3, metric, weights="convex").convex is None
    predictions, labels = problem(1, "nll")
    two = {"a": predictions, "b": predictions}, {"a": labels, "b": labels}
    assert greedy_selection(*two, 3, weights="convex").convex is None
    selection = greedy_selection(predictions, labels, 5, weights="convex", stop="total", tolerance=-math.inf)
    assert selection.convex == selection.weights and selection.best_prefix().convex is None


def with_costs(predictions, labels, size, costs, weight, budget, most):
    """The rule of costs by brute force: choices in total."""
    chosen, trajectory, last = [], [], math.inf
    while len(chosen) < size:
        best, lowest = None, math.inf
        for t in range(len(predictions)):
            members = {*chosen, t}
            spent = sum(costs[m] for m in members)
            if spent <= budget + 1e-9 and (len(members) <= most or t in chosen):
                score = loss("nll", labels, predictions[[*chosen, t]].mean(0)) + weight * spent / max(costs)
                best, lowest = (t, score) if score < lowest - 1e-11 else (best, lowest)
        if best is None or not last - lowest > 1e-11:
            break
        chosen.append(best)
        trajectory.append(loss("nll", labels, predictions[chosen].mean(0)))
        last = lowest
    return tuple(chosen), trajectory


@pytest.mark.parametrize("weight,budget,most", list(itertools.product([0.0, 0.03, 0.5], [4.0, 9.0, math.inf], [2, 7])))
def test_costs_and_limits_equal_brute_force(weight, budget, most):
    for seed in range(5):
        predictions, labels = problem(seed, "nll")
        costs = np.random.default_rng(seed).uniform(1, 4, 7)
        expected, trajectory = with_costs(predictions, labels, 6, costs, weight, budget, most)
        limit = None if budget == math.inf else budget
        selection = greedy_selection(
            predictions, labels, 6, stop="total", costs=costs, cost_weight=weight, max_cost=limit, max_members=most
        )
        assert selection.indices == expected
        np.testing.assert_allclose(selection.trajectory, trajectory)


def test_a_budget_may_be_spent_before_there_are_k_members():
    predictions, labels = problem(2, "nll")
    costs = np.ones(7)
    for changes in ({}, {"weights": "convex"}, {"bagging": 5}):
        found = greedy_selection(predictions, labels, 4, costs=costs, max_cost=2, tolerance=-math.inf, **changes)
        assert len(found.members) == 2
    free = greedy_selection(predictions, labels, 4, tolerance=-math.inf)
    assert greedy_selection(predictions, labels, 4, tolerance=-math.inf, costs=0 * costs, cost_weight=9) == free
    for changes in ({}, {"bagging": 5}):
        assert len(greedy_selection(predictions, labels, 4, costs=costs, cost_weight=9, **changes).members) == 1


PREDICTIONS, LABELS = problem(0, "nll")


@pytest.mark.parametrize(
    "change,message",
    [
        (dict(weights="equal"), r"`weights` must be one of \('counts', 'convex'\). Received: weights='equal'"),
        (dict(prior_rows=-1), "prior_rows=-1"),
        (dict(prior_rows=None), "prior_rows=None"),
        (dict(max_members=2), 'requires stop="total".*max_members=2'),
        (dict(max_members=0, stop="total"), "max_members=0"),
        (dict(cost_weight=-1.0), "cost_weight=-1.0"),
        (dict(max_cost=-1), "max_cost=-1"),
        (dict(cost_weight=1.0), "require `costs` of the candidates"),
        (dict(max_cost=1.0), "require `costs` of the candidates"),
        (dict(costs=[1, 2]), "for each of 7 candidates"),
        (dict(costs=-np.ones(7)), "at least 0 for each"),
        (dict(costs=np.ones(7), max_cost=0.5), "the cheapest candidate, which costs 1. Received: max_cost=0.5"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        greedy_selection(PREDICTIONS, LABELS, 3, **change)
