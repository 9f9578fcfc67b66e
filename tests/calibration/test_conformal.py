import numpy as np
import pytest
import scipy.stats

from keras_hyperens.calibration import ConformalIntervals
from keras_hyperens.calibration import ConformalSets

ROWS = 19  # few, so that the guarantee's term 1 / (N + 1) is seen


def classified(generator, rows):
    """Probabilities that are not those the labels are drawn with."""
    truth = generator.dirichlet(np.ones(5), rows)
    labels = (truth.cumsum(-1) > generator.uniform(size=(rows, 1))).argmax(-1)
    said = truth**3
    return said / said.sum(-1, keepdims=True), labels


def measured(generator, rows):
    """Predictions whose variance is wrong."""
    means = generator.normal(size=rows)
    return np.column_stack([means, np.full(rows, 0.01)]), generator.standard_t(3, rows) + means


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
@pytest.mark.parametrize(("kind", "make"), [(ConformalSets, classified), (ConformalIntervals, measured)])
def test_coverage_is_what_the_guarantee_says(kind, make, coverage):
    generator = np.random.default_rng(0)
    held = []
    for _ in range(2000):  # over draws of calibration rows too: that is what the guarantee is about
        fitted = kind(coverage).fit(*make(generator, ROWS))
        predictions, truth = make(generator, 5)
        found = fitted.predict(predictions)
        if kind is ConformalSets:
            held.append(found[np.arange(5), truth].mean())
        else:
            held.append(((found[:, 0, 0] <= truth) & (truth <= found[:, 0, 1])).mean())
    error = 4 * np.std(held) / np.sqrt(len(held))
    assert coverage - error <= np.mean(held) <= coverage + 1 / (ROWS + 1) + error


def test_threshold_is_the_stated_rank():
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    sets = ConformalSets(0.6).fit(np.column_stack([1 - scores, scores]), np.zeros(4, int))
    np.testing.assert_allclose(sets.threshold, 0.3)  # ceil(5 * 0.6) = 3rd smallest
    np.testing.assert_array_equal(sets.predict([[0.71, 0.29], [0.5, 0.5]]), [[True, False], [False, False]])


@pytest.mark.parametrize(("kind", "make"), [(ConformalSets, classified), (ConformalIntervals, measured)])
@pytest.mark.parametrize("coverage", [0.05, 0.5, 0.9, 0.99])
def test_weights_equal_repeated_rows(kind, make, coverage):
    generator = np.random.default_rng(1)
    predictions, truth = make(generator, 40)
    counts = generator.integers(0, 4, 40)
    repeated = kind(coverage).fit(np.repeat(predictions, counts, 0), np.repeat(truth, counts, 0))
    truth = np.where(counts, truth, 1)  # what has no weight says nothing
    assert kind(coverage).fit(predictions, truth, counts).threshold == repeated.threshold
    for weights in (np.zeros(40), -np.ones(40), np.full(40, np.nan), np.ones(39)):
        with pytest.raises(ValueError, match="`sample_weight` must be"):
            kind(coverage).fit(predictions, truth, weights)


def test_too_few_rows_for_the_coverage_give_everything():
    sets = ConformalSets(0.9).fit(np.full((5, 2), 0.5), np.zeros(5, int))
    assert sets.threshold == np.inf and sets.predict(np.eye(2)).all()


def test_intervals_of_a_right_gaussian_are_its_quantiles():
    generator = np.random.default_rng(0)
    predictions = np.column_stack([np.zeros(20_000), np.full(20_000, 4.0)])
    interval = ConformalIntervals(0.9).fit(predictions, generator.normal(0, 2, 20_000)).predict(predictions[:1])
    np.testing.assert_allclose(interval.squeeze(), scipy.stats.norm.interval(0.9, 0, 2), rtol=0.03)


def test_bad_input_is_named():
    for coverage in (0, 1, 1.5):
        with pytest.raises(ValueError, match=f"coverage={coverage}"):
            ConformalSets(coverage)
    with pytest.raises(ValueError, match="Call `fit`"):
        ConformalIntervals().predict([[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"shape=\(1, 3\)"):
        ConformalIntervals().fit([[0.0, 1.0, 2.0]], [0.0])
    with pytest.raises(ValueError, match="must be finite. Received: scores"):
        ConformalIntervals().fit([[0.0, 1.0]], [np.nan])
    with pytest.raises(ValueError, match=r"Received: labels from 0 to 2"):
        ConformalSets().fit(np.full((2, 2), 0.5), [0, 2])


def test_one_probability_is_that_of_class_one():
    p, labels = np.random.default_rng(0).uniform(size=(50, 1)), np.random.default_rng(1).integers(0, 2, 50)
    both = np.concatenate([1 - p, p], -1)
    one, two = ConformalSets(0.8).fit(p, labels[:, None]), ConformalSets(0.8).fit(both, labels)
    assert one.threshold == two.threshold and 0 < one.threshold < 1
    np.testing.assert_array_equal(one.predict(p), two.predict(both))
    np.testing.assert_array_equal(ConformalSets(0.8).fit(p.tolist(), labels.tolist()).predict(p), two.predict(both))


@pytest.mark.parametrize("conformal, rows", [(ConformalSets, [[0.5, 0.5]] * 2), (ConformalIntervals, [[0.0, 1.0]] * 2)])
def test_labels_of_other_kinds_are_named(conformal, rows):
    with pytest.raises(ValueError, match="Labels must be numbers: encode strings as 0, 1, .* Received: dtype=<U3"):
        conformal().fit(rows, ["cat", "dog"])
    with pytest.raises(ValueError, match="Received: "):
        conformal().fit(rows, [0, 1, 1])


def test_soft_labels_have_no_true_class():
    with pytest.raises(ValueError, match="classes, or one-hot. Received: soft labels"):
        ConformalSets().fit([[0.5, 0.5]] * 2, [[0.3, 0.7]] * 2)
