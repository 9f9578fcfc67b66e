"""Selections on halves of the rows, and with limits and costs, against brute force."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from keras_hyperens.search import bagging
from keras_hyperens.search import greedy_selection
from tests.search.test_selection import absolute_error
from tests.search.test_selection import loss
from tests.search.test_selection import problem


def agreed(runs, size):
    """The choices of the candidates that the runs chose most often."""
    chosen = [index for run in runs for index in run]
    kept = {index for index, _ in Counter(chosen).most_common(size)}
    return tuple(index for index in chosen if index in kept)


def halves(number, bags, seed=0):
    random = np.random.default_rng(seed)
    return [np.sort(random.choice(number, -(-number // 2), replace=False)) for _ in range(bags)]


@pytest.mark.parametrize("metric", ["nll", "brier", "accuracy", "mse", absolute_error])
@pytest.mark.parametrize("weighted", [False, True])
def test_halves_of_rows_are_selections_on_these_rows(metric, weighted):
    if weighted and callable(metric):
        pytest.skip("it takes no weights")
    predictions, labels = problem(6, metric, candidates=9, rows=41)
    weights = np.random.default_rng(1).uniform(size=41) if weighted else None
    settings = dict(metric=metric, tolerance=-math.inf)
    selection = greedy_selection(predictions, labels, 3, row_bagging=8, seed=0, sample_weight=weights, **settings)
    runs = [
        greedy_selection(
            predictions[:, half], labels[half], 3, sample_weight=None if weights is None else weights[half], **settings
        ).indices
        for half in halves(41, 8)
    ]
    assert selection.indices == agreed(runs, 3) and len(selection.members) == 3
    assert selection.trajectory[0] != selection.trajectory[-1]
    whole = greedy_selection(
        predictions[list(selection.indices)].mean(0)[None], labels, 1, metric, sample_weight=weights
    )
    np.testing.assert_allclose(selection.trajectory[-1], whole.trajectory[0], rtol=1e-9)


def test_one_column_and_one_hot_labels():
    predictions, labels = problem(3, "brier", candidates=6, rows=30, classes=1)
    runs = [greedy_selection(predictions[:, half], labels[half], 2, "brier").indices for half in halves(30, 5)]
    assert greedy_selection(predictions, labels, 2, "brier", row_bagging=5, seed=0).indices == agreed(runs, 2)
    predictions, labels = problem(3, "nll", rows=30)
    found = greedy_selection(predictions, labels, 3, row_bagging=5, seed=0)
    assert greedy_selection(predictions, np.eye(4)[labels], 3, row_bagging=5, seed=0) == found


@pytest.mark.parametrize("metric", ["nll", "brier"])
def test_a_sample_keeps_its_positions_and_what_has_no_weight_is_not_read(metric):
    predictions, labels = problem(1, metric, rows=60)
    shaped, places = predictions.reshape(7, 12, 5, 4), labels.reshape(12, 5)
    weights = (np.random.default_rng(0).uniform(size=(12, 5)) > 0.4).astype(float)
    weights[3] = 0  # a sample that nothing is read of
    runs = [
        greedy_selection(shaped[:, half], places[half], 3, metric, sample_weight=weights[half]).indices
        for half in halves(12, 6)
    ]
    unread = np.where(weights[..., None] > 0, shaped, np.nan)
    found = greedy_selection(unread, places, 3, metric, sample_weight=weights, row_bagging=6, seed=0)
    assert found.indices == agreed(runs, 3)
    rare = np.zeros((12, 5))
    rare[7] = 1  # a half without it is all rows
    assert greedy_selection(shaped, places, 3, metric, sample_weight=rare, row_bagging=6, seed=0).members


def test_several_outputs_share_the_halves_and_seeds_differ():
    first, labels = problem(1, "nll", rows=30)
    values, targets = problem(2, "mse", rows=30)
    both = {"a": first, "b": values}, {"a": labels, "b": targets}
    metrics = {"a": "nll", "b": "mse"}
    runs = [
        greedy_selection(
            {"a": first[:, half], "b": values[:, half]}, {"a": labels[half], "b": targets[half]}, 3, metrics
        ).indices
        for half in halves(30, 6)
    ]
    assert greedy_selection(*both, 3, metrics, row_bagging=6, seed=0).indices == agreed(runs, 3)
    seeds = [greedy_selection(*both, 3, metrics, row_bagging=6, seed=seed) for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_the_number_of_halves_follows_the_number_of_rows(monkeypatch):
    sizes = (1, 60, 1_000, 5_000, 15_000, 15_001)
    assert [bagging.bags_for(rows, 4, "nll") for rows in sizes] == [30, 30, 30, 6, 2, None]
    assert bagging.bags_for(60, 1, "nll") is bagging.bags_for(60, 4, {"a": "nll", "b": absolute_error}) is None
    predictions, labels = problem(2, "nll", rows=40)
    for read, bags in ((120, 3), (60, None)):
        monkeypatch.setattr(bagging, "ROWS_READ", read)
        found = greedy_selection(predictions, labels, 3, row_bagging="auto", seed=4)
        assert found == greedy_selection(predictions, labels, 3, row_bagging=bags, seed=4)


def test_without_replacement_weights_are_equal():
    predictions, labels = problem(6, "nll", candidates=12, rows=60)
    settings = dict(replacement=False, seed=0)
    selection = greedy_selection(predictions, labels, 3, row_bagging=6, **settings)
    runs = [
        greedy_selection(predictions[:, half], labels[half], 3, replacement=False).indices for half in halves(60, 6)
    ]
    most = Counter(index for run in runs for index in run).most_common(3)
    assert selection.indices == tuple(index for index, _ in most) and selection.weights == (1 / 3,) * 3


def test_one_row_and_candidates_that_are_not_finite():
    predictions, labels = problem(2, "nll", rows=1)
    assert greedy_selection(predictions, labels, 2, row_bagging=3, tolerance=-math.inf).members
    predictions, labels = problem(2, "nll", rows=20)
    predictions[4, 7] = np.nan
    found = greedy_selection(predictions, labels, 3, row_bagging=9, seed=0)
    assert found.excluded == (4,) and 4 not in found.members and np.isfinite(found.trajectory).all()


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
    for changes in ({}, {"row_bagging": 5}, {"bagging": 5}):
        found = greedy_selection(predictions, labels, 4, costs=costs, max_cost=2, tolerance=-math.inf, **changes)
        assert len(found.members) == 2
    free = greedy_selection(predictions, labels, 4, tolerance=-math.inf)
    assert greedy_selection(predictions, labels, 4, tolerance=-math.inf, costs=0 * costs, cost_weight=9) == free
    dear = greedy_selection(predictions, labels, 4, costs=costs, cost_weight=9, row_bagging=5)
    assert len(dear.members) == 1


PREDICTIONS, LABELS = problem(0, "nll")


@pytest.mark.parametrize(
    "change,message",
    [
        (dict(row_bagging=0), "row_bagging=0"),
        (dict(row_bagging="often"), "`row_bagging` must be an integer.*'often'"),
        (dict(row_bagging=3, bagging=3), "give `bagging` or `row_bagging`"),
        (dict(max_members=2), 'is for stop="total".*max_members=2'),
        (dict(max_members=0, stop="total"), "max_members=0"),
        (dict(cost_weight=-1.0), "cost_weight=-1.0"),
        (dict(max_cost=-1), "max_cost=-1"),
        (dict(cost_weight=1.0), "need what each candidate costs"),
        (dict(max_cost=1.0), "need what each candidate costs"),
        (dict(costs=[1, 2]), "for each of 7 candidates"),
        (dict(costs=-np.ones(7)), "at least 0 for each"),
        (dict(costs=np.ones(7), max_cost=0.5), "the cheapest candidate, which costs 1. Received: max_cost=0.5"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        greedy_selection(PREDICTIONS, LABELS, 3, **change)
