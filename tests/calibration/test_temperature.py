import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from keras_hyperens.calibration import fit_temperature
from keras_hyperens.calibration import fit_variance_scale

GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.normal(0, 2, (3000, 4))
LABELS = np.array([GENERATOR.choice(4, p=p) for p in scipy.special.softmax(TRUTH, -1)])


@pytest.mark.parametrize("sharpened", [0.4, 1.0, 3.0])
def test_finds_by_how_much_logits_were_scaled(sharpened):
    temperature = fit_temperature(scipy.special.softmax(TRUTH * sharpened, -1), LABELS)
    np.testing.assert_allclose(temperature, sharpened, rtol=0.06)


def test_is_the_minimum_that_scipy_finds_with_weights():
    probabilities, weights = scipy.special.softmax(2 * TRUTH, -1), GENERATOR.integers(0, 3, len(LABELS))

    def nll(log_temperature):
        tempered = scipy.special.log_softmax(2 * TRUTH / np.exp(log_temperature), -1)
        return -np.average(tempered[np.arange(len(LABELS)), LABELS], weights=weights)

    best = np.exp(scipy.optimize.minimize_scalar(nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    np.testing.assert_allclose(fit_temperature(probabilities, LABELS, weights), best, rtol=1e-5)
    repeated = fit_temperature(np.repeat(probabilities, weights, 0), np.repeat(LABELS, weights))
    np.testing.assert_allclose(repeated, best, rtol=1e-5)


def test_labels_of_every_kind_and_rows_of_every_rank():
    probabilities = scipy.special.softmax(TRUTH, -1)
    expected = fit_temperature(probabilities, LABELS)
    for labels in (LABELS[:, None], np.eye(4)[LABELS]):
        assert fit_temperature(probabilities, labels) == expected
    assert fit_temperature(probabilities.reshape(30, 100, 4), LABELS.reshape(30, 100)) == expected


def test_stays_finite_where_no_temperature_is_best():
    assert fit_temperature(np.tile([[0.9, 0.1]], (5, 1)), np.zeros(5, int)) < 1e-2  # always right: as sure as can be
    assert fit_temperature(np.tile([[0.9, 0.1]], (5, 1)), np.ones(5, int)) > 1e2  # always wrong: as unsure as can be
    assert np.isfinite(fit_temperature(np.eye(3)[[0, 1, 2]], [1, 1, 2]))


def test_variance_scale_maximizes_the_likelihood():
    means, variances = GENERATOR.normal(size=(50, 2)), GENERATOR.gamma(2, size=(50, 2))
    targets = GENERATOR.normal(means, 1.7 * np.sqrt(variances))
    scale = fit_variance_scale(means, variances, targets)
    nll = [
        -scipy.stats.norm.logpdf(targets, means, np.sqrt(variances * s)).mean()
        for s in scale * np.array([0.99, 1, 1.01])
    ]
    assert nll[1] < min(nll[0], nll[2])


def test_weights_of_variances_equal_repeated_rows():
    means, targets = GENERATOR.normal(size=(2, 30, 2))
    variances, counts = GENERATOR.gamma(2, size=(30, 2)), GENERATOR.integers(0, 4, 30)
    repeated = fit_variance_scale(*(np.repeat(each, counts, 0) for each in (means, variances, targets)))
    targets[counts == 0] = np.nan
    for weights in (counts, counts[:, None]):
        np.testing.assert_allclose(fit_variance_scale(means, variances, targets, weights), repeated)


def test_what_has_no_weight_is_not_read():
    probabilities, weights = scipy.special.softmax(TRUTH, -1), np.arange(len(LABELS)) % 2
    labels = np.where(weights, LABELS, -1)
    expected = fit_temperature(probabilities[1::2], LABELS[1::2])
    assert fit_temperature(probabilities, labels, weights) == expected


@pytest.mark.parametrize("weights", [[0, 0, 0], [1, -1, 1], [1, np.nan, 1], [1, np.inf, 1], [1, 1]])
def test_bad_weights_are_named(weights):
    with pytest.raises(ValueError, match="`sample_weight` must be.*Received: sample_weight"):
        fit_temperature(np.full((3, 2), 0.5), [0, 0, 1], weights)
    with pytest.raises(ValueError, match="`sample_weight` must be.*Received: sample_weight"):
        fit_variance_scale(*np.ones((3, 3, 1)), weights)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((3, 1)), [0, 0, 0], r"two classes are required. Received: shape=\(3, 1\)"),
        (np.ones((0, 2)), [], r"Received: shape=\(0, 2\)"),
        (np.ones((3, 2)), [0, 0, 0], "sums from 2 to 2"),
        (np.full((3, 2), np.nan), [0, 0, 0], "must be finite"),
        (np.full((3, 2), 0.5), [0, 0], r"shapes \(2,\) and \(3, 2\)"),
        (np.full((3, 2), 0.5), [0, 0, 2], r"in \[0, 2\). Received: labels from 0 to 2"),
        (np.full((3, 2), 0.5), [0, 0, -1], r"Received: labels from -1 to 0"),
        (np.full((3, 2), 0.5), np.full((3, 2), 0.4), "soft labels must be at least 0 and sum to 1.*sums from 0.8"),
    ],
)
def test_bad_rows_are_named(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(probabilities, labels)


def test_bad_gaussians_are_named():
    with pytest.raises(ValueError, match=r"shapes \(2, 1\), \(2, 1\), \(3, 1\)"):
        fit_variance_scale(np.ones((2, 1)), np.ones((2, 1)), np.ones((3, 1)))


def test_soft_labels_are_classes_with_weights():
    probabilities, soft = scipy.special.softmax(2 * TRUTH[:50], -1), GENERATOR.dirichlet(np.ones(4), 50)
    classes, rows = np.tile(np.arange(4), 50), np.repeat(probabilities, 4, 0)
    expected = fit_temperature(rows, classes, soft.reshape(-1))
    np.testing.assert_allclose(fit_temperature(probabilities, soft), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b", "a"], "Labels must be numbers: encode strings as 0, 1, .* Received: dtype=<U1"),
        ([0.5, 1, 0], "whole numbers in"),
        ([[1, 1]] * 3, "must be at least 0 and sum to 1. Received: sums from 2 to 2"),
    ],
)
def test_bad_labels_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(np.full((3, 2), 0.5), labels)


@pytest.mark.parametrize("weighted", [False, True])
def test_prior_rows_are_samples_on_which_predictions_are_right(weighted):
    logits, labels = 2 * TRUTH[:40], LABELS[:40]
    probabilities, weights = scipy.special.softmax(logits, -1), GENERATOR.uniform(size=40) if weighted else np.ones(40)

    def nll(log_temperature):
        tempered = scipy.special.log_softmax(logits / np.exp(log_temperature), -1)
        own = (probabilities * tempered).sum(-1)
        return -(weights @ tempered[np.arange(40), labels] + 15 * np.average(own, weights=weights))

    best = np.exp(scipy.optimize.minimize_scalar(nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    found = fit_temperature(probabilities, labels, weights if weighted else None, prior_rows=15)
    np.testing.assert_allclose(found, best, rtol=1e-5)


def test_a_temperature_of_few_rows_stays_near_1_and_that_of_many_is_the_best():
    probabilities = scipy.special.softmax(3 * TRUTH, -1)
    free = [fit_temperature(probabilities[:rows], LABELS[:rows]) for rows in (10, 3000)]
    held = [fit_temperature(probabilities[:rows], LABELS[:rows], prior_rows=50) for rows in (10, 3000)]
    assert abs(np.log(held[0])) < 0.5 * abs(np.log(free[0])) and abs(np.log(held[1] / free[1])) < 0.03
    np.testing.assert_allclose(fit_temperature(probabilities[:9], LABELS[:9], prior_rows=1e9), 1, atol=1e-4)
    always_right = fit_temperature(np.tile([[0.9, 0.1]], (60, 1)), np.zeros(60, int), prior_rows=50)
    assert 0.5 < always_right < 1  # without them it is 1e-3


def test_prior_rows_are_samples_and_not_positions():
    probabilities = scipy.special.softmax(3 * TRUTH[:60], -1)
    shaped = fit_temperature(probabilities.reshape(12, 5, 4), LABELS[:60].reshape(12, 5), prior_rows=6)
    np.testing.assert_allclose(shaped, fit_temperature(probabilities, LABELS[:60], prior_rows=30))
    means, targets = GENERATOR.normal(size=(2, 12, 5, 2))
    free = fit_variance_scale(means, np.ones_like(means), targets)
    held = fit_variance_scale(means, np.ones_like(means), targets, prior_rows=6)
    np.testing.assert_allclose(held, (12 * free + 6) / 18)
    weighted = fit_variance_scale(means, np.ones_like(means), targets, np.full((12, 5), 2.0), prior_rows=6)
    np.testing.assert_allclose(weighted, (24 * free + 6) / 30)


@pytest.mark.parametrize("prior_rows", [-1, np.nan, np.inf, "many", None, True])
def test_bad_prior_rows(prior_rows):
    with pytest.raises(ValueError, match="`prior_rows` must be a number of at least 0. Received: prior_rows="):
        fit_temperature(np.full((3, 2), 0.5), [0, 0, 1], prior_rows=prior_rows)
    with pytest.raises(ValueError, match="`prior_rows` must be a number of at least 0. Received: prior_rows="):
        fit_variance_scale(*np.ones((3, 3, 1)), prior_rows=prior_rows)
