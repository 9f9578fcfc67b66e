"""The rules of the comparison on a pool that a test makes, and its tables."""

import math

import numpy as np
import pytest

import keras_hyperens as khe
from benchmarks.selection import __main__ as selection
from benchmarks.selection import report
from benchmarks.selection import rules
from benchmarks.selection.pools import Pool
from tests.search.test_selection import problem


@pytest.fixture
def pool():
    predictions, labels = problem(0, "nll", candidates=8, rows=120)
    return Pool("digits, networks", predictions, labels, np.arange(8) // 2)


def test_every_rule_gives_weights_of_k_members_at_most(pool):
    for name, rule in rules.RULES.items():
        weights = rule(pool.predictions[:, :40], pool.labels[:40], 3, "nll", 0)
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1) and 1 <= (weights > 0).sum() <= 3, name
    best = rules.RULES["best single"](pool.predictions, pool.labels, 3, "nll", 0).argmax()
    assert best == khe.greedy_selection(pool.predictions, pool.labels, 1).indices[0]


def test_a_line_has_scores_on_other_rows_than_those_that_chose(pool):
    line = selection.measure(pool, 60, 0)
    order = np.random.default_rng([0, 60]).permutation(120)
    chosen, test = order[:60], order[60:]
    found = khe.greedy_selection(pool.predictions[:, chosen], pool.labels[chosen], 4, tolerance=-math.inf)
    mean = np.tensordot(found.weights, pool.predictions[list(found.members)][:, test], 1)
    assert line["nll"]["greedy"] == pytest.approx(rules.nll(mean, pool.labels[test]), rel=1e-5)
    own = np.tensordot(found.weights, pool.predictions[list(found.members)][:, chosen], 1)
    temperature = khe.calibration.fit_temperature(own, pool.labels[chosen], prior_rows=50)
    tempered = rules.nll(mean, pool.labels[test], temperature)
    assert line["tempered"]["greedy"]["50 rows"] == pytest.approx(tempered, rel=1e-4)
    assert set(line["nll"]) == {*rules.RULES, "deep"} and set(line["brier"]) == set(rules.RULES) - set(
        rules.OF_LIKELIHOOD
    )


def test_tables_have_ratios_of_means_and_the_pools_apart():
    def line(pool, split, greedy, default):
        scores = {"greedy": greedy, rules.DEFAULT: default}
        return {"pool": pool, "rows": 60, "split": split, "nll": scores, "tempered": {"greedy": {"0 rows": 1.0}}}

    lines = [line("digits, mixed", 0, 1.0, 0.5), line("digits, mixed", 1, 3.0, 2.5), line("spam, mixed", 0, 1.0, 1.2)]
    text = report.tables(lines)
    assert f"| {rules.DEFAULT} | 0.750 | 0.750 | 0.750 |" in text and f"| {rules.DEFAULT} | 1.200 |" in text
    assert "| greedy, 0 rows | 0.500 |" in text and "| spam, mixed (confirms) | 1.200 |" in text
