"""Sets of classes against loops, against MAPIE, and as often right as they say."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from keras import ops

from keras_hyperens.calibration import ConformalSets
from keras_hyperens.decisions import ClassSets
from keras_hyperens.decisions import Conformal

METHODS = ("threshold", "aps", "raps")
SPLITS, HELD_OUT = 200, 300


def classified(seed, rows, classes=4):
    """Probabilities that are surer than the labels are drawn with."""
    generator = np.random.default_rng(seed)
    truth = generator.dirichlet(np.ones(classes), rows)
    labels = (truth.cumsum(-1) > generator.uniform(size=(rows, 1))).argmax(-1)
    said = truth**2
    return said / said.sum(-1, keepdims=True), labels


def scores_by_loops(method, rows, rank, penalty):
    """The score of every class, by its definition."""
    found = np.zeros(np.shape(rows))
    for row, probabilities in enumerate(rows):
        order = sorted(range(len(probabilities)), key=lambda c: -probabilities[c])
        for c, p in enumerate(probabilities):
            place = order.index(c)
            before = sum(probabilities[other] for other in order[:place])
            extra = penalty * max(0, place + 1 - rank)
            found[row, c] = 1 - p if method == "threshold" else before + extra
    return found


@pytest.mark.parametrize("method", METHODS)
def test_scores_and_sets_equal_loops(method):
    rows, _ = classified(3, 20)
    sets = ClassSets(method, (0.3, 0.2, 0.5, 0.0), rank=2, penalty=0.05 if method == "raps" else 0.0)
    expected = scores_by_loops(method, rows, sets.rank, sets.penalty)
    np.testing.assert_allclose(sets.scores(rows), expected, atol=1e-12)
    np.testing.assert_array_equal(sets.of(rows), expected <= [0.3, 0.2, 0.5, 0.0])
    np.testing.assert_allclose(sets.scores(ops.convert_to_tensor(rows)), expected, atol=1e-12)
    np.testing.assert_array_equal(sets.of(ops.convert_to_tensor(rows)), expected <= [0.3, 0.2, 0.5, 0.0])
    np.testing.assert_array_equal(sets.of(rows.reshape(4, 5, 4)), (expected <= [0.3, 0.2, 0.5, 0.0]).reshape(4, 5, 4))


# MAPIE 1.6.0, SplitConformalClassifier(prefit=True): "lac", and "aps" with its last label.
MAPIE = {
    ("threshold", 0.6): "0010 0100 0110 1000 0001 0011 1010 1000 0101 0001 0001 0011",
    ("threshold", 0.9): "1010 0111 0111 1010 1011 1111 1110 1011 0101 1011 1111 1011",
    ("aps", 0.6): "0010 0100 0110 1010 0001 0011 1010 1000 0101 0001 1011 0011",
    ("aps", 0.9): "1010 0111 0110 1010 1011 1111 1010 1011 0101 1011 1111 1011",
}


@pytest.mark.parametrize(("method", "coverage"), MAPIE)
def test_sets_are_those_of_mapie(method, coverage):
    probabilities, labels = classified(0, 60)
    new, _ = classified(1, 12)
    expected = np.array([[digit == "1" for digit in row] for row in MAPIE[method, coverage].split()])
    sets = ClassSets.fitted(probabilities, labels, None, coverage, method)
    if method == "threshold":
        np.testing.assert_array_equal(sets.of(new), expected)
        return
    # MAPIE's threshold is of scores less a random part of the true class; it adds the class that goes beyond.
    true = sets.scores(probabilities)[np.arange(60), labels]
    random = np.random.RandomState(0).uniform(size=60)
    reached = np.sort(true + (1 - random) * probabilities[np.arange(60), labels])
    np.testing.assert_array_equal(sets.scores(new) < reached[math.ceil(61 * coverage) - 1], expected)


def of_splits(method, per_class=False, coverage=0.8):
    """Coverage `[200]` of every split, of all rows and of each class."""
    probabilities, labels = classified(5, 2000)
    generator, held = np.random.default_rng(6), []
    for _ in range(SPLITS):
        order = generator.permutation(len(labels))
        fit, new = order[:HELD_OUT], order[HELD_OUT:]
        sets = ClassSets.fitted(probabilities[fit], labels[fit], None, coverage, method, per_class)
        inside = sets.of(probabilities[new])[np.arange(len(new)), labels[new]]
        held.append([inside.mean(), *(inside[labels[new] == c].mean() for c in range(4))])
    return np.array(held)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_class", [False, True], ids=["marginal", "per class"])
def test_coverage_over_200_splits(method, per_class):
    held = of_splits(method, per_class)
    error = 4 * held.std(0) / math.sqrt(SPLITS)
    fewest = HELD_OUT / 4 * 0.8 * 0.8 if per_class else HELD_OUT * 0.8  # rows of a threshold, at least about so many
    columns = slice(1, None) if per_class else slice(0, 1)
    assert (held.mean(0) + error)[columns].min() >= 0.8
    assert (held.mean(0) - error)[columns].max() <= 0.8 + 1 / fewest + (0.02 if method != "threshold" else 0)


def test_one_threshold_for_all_classes_holds_on_average_alone():
    held = of_splits("threshold").mean(0)
    generator = np.random.default_rng(0)
    probabilities, labels = classified(5, 2000)
    probabilities[labels == 3] = generator.dirichlet(np.ones(4), (labels == 3).sum())  # a class that is not understood
    fit, new = slice(0, 1000), slice(1000, None)
    inside = {}
    for per_class in (False, True):
        sets = ClassSets.fitted(probabilities[fit], labels[fit], None, 0.8, "threshold", per_class)
        inside[per_class] = sets.of(probabilities[new])[np.arange(1000), labels[new]][labels[new] == 3]
    assert inside[False].mean() < 0.75 < 0.76 < inside[True].mean() and abs(held[0] - 0.8) < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_adaptive_sets_hold_the_most_probable_class(method):
    probabilities, labels = classified(0, 200)
    sets = ClassSets.fitted(probabilities, labels, None, 0.3, method).of(probabilities)
    assert sets[np.arange(200), probabilities.argmax(-1)].all() == (method != "threshold")


@pytest.mark.parametrize("method", ["threshold", "aps"])
@pytest.mark.parametrize("per_class", [False, True])
def test_weights_equal_repeated_rows(method, per_class):
    probabilities, labels = classified(1, 60)
    counts = np.random.default_rng(0).integers(1, 4, 60)
    weighted = ClassSets.fitted(probabilities, labels, counts, 0.7, method, per_class)
    repeated = ClassSets.fitted(probabilities.repeat(counts, 0), labels.repeat(counts), None, 0.7, method, per_class)
    assert weighted == repeated and len(weighted.thresholds) == (4 if per_class else 1)


def test_a_class_without_rows_is_in_every_set():
    probabilities, labels = classified(1, 60)
    sets = ClassSets.fitted(probabilities[labels < 3], labels[labels < 3], None, 0.7, "threshold", per_class=True)
    assert sets.thresholds[3] == math.inf and sets.of(probabilities)[:, 3].all()


def test_raps_chooses_rank_and_penalty_for_small_sets():
    generator = np.random.default_rng(0)
    said = generator.dirichlet(np.full(50, 0.1), 3000) + 1e-3  # long tails
    said /= said.sum(-1, keepdims=True)
    labels = (said.cumsum(-1) > generator.uniform(size=(3000, 1))).argmax(-1)
    said = said**0.3
    said /= said.sum(-1, keepdims=True)
    sets = {m: ClassSets.fitted(said[:1000], labels[:1000], None, 0.9, m) for m in ("aps", "raps")}
    sizes = {m: each.of(said[1000:]).sum(-1).mean() for m, each in sets.items()}
    assert sizes["raps"] < sizes["aps"] and sets["raps"].rank > 1 and sets["raps"].penalty > 0
    with pytest.raises(ValueError, match='"raps" needs at least 10 held-out samples.*Received: 9'):
        ClassSets.fitted(said[:9], labels[:9], None, 0.9, "raps")


def test_thresholds_are_those_of_the_calibration_package():
    probabilities, labels = classified(0, 60)
    sets = ClassSets.fitted(probabilities, labels, None, 0.9, "threshold")
    expected = ConformalSets(0.9).fit(probabilities, labels).threshold
    assert expected < sets.thresholds[0] < expected + 2e-5  # in an export rounding is another


def test_files_hold_them():
    conformal = Conformal(0.9, True, (ClassSets("raps", (0.5, math.inf), 3, 0.1),))
    assert Conformal.from_config(json.loads(json.dumps(asdict(conformal)))) == conformal
