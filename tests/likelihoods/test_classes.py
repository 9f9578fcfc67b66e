"""Each likelihood against SciPy and plain formulas."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from keras import ops

from keras_hyperens import uncertainty
from keras_hyperens.likelihoods import Bernoulli
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Value
from keras_hyperens.likelihoods import sources

RANDOM = np.random.default_rng(0)
M, B, C, T = 4, 6, 4, 1.7
RAW = RANDOM.normal(0, 1, (M, B, C)).astype("float32")
WEIGHTS = np.array([1.0, 2.0, 0.5, 0.5])
LOGITS, YES = Categorical(from_logits=True), Bernoulli(from_logits=True)
PREDICTED = {
    "softmax": scipy.special.softmax(RAW, -1),
    "sigmoid": scipy.special.expit(RAW),
    "categorical": scipy.special.softmax(RAW, -1),
    "bernoulli": scipy.special.expit(RAW),
    "gaussian": np.concatenate([RAW[..., :2], np.exp(RAW[..., 2:]) ** 2], -1),
    "quantiles": RAW,
    None: RAW,
}
every = pytest.mark.parametrize("likelihood", sources.KNOWN, ids=lambda each: each.name or "values")


def raw_of(likelihood):
    """The raw outputs whose predictions are `PREDICTED`."""
    return RAW if likelihood.from_logits or isinstance(likelihood, Gaussian | Value) else PREDICTED[likelihood.name]


def mixture(gaussians, weights=None):
    """Mean and variance of a mixture, by moments."""
    means, variances = np.split(gaussians, 2, -1)
    mean, second = (np.average(each, 0, weights=weights) for each in (means, means**2 + variances))
    return np.concatenate([mean, second - mean**2], -1)


def same(received, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(received, expected, rtol=rtol, atol=atol)


@every
def test_predictions_and_raw_outputs(likelihood):
    predicted = likelihood.predict(raw_of(likelihood))
    same(predicted, PREDICTED[likelihood.name])
    same(likelihood.predict(likelihood.to_raw(predicted)), predicted)
    assert likelihood.predict(ops.cast(raw_of(likelihood), "float16")).dtype == "float32"


@every
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_members_are_combined_as_predictions(likelihood, weights):
    predicted = PREDICTED[likelihood.name]
    expected = mixture(predicted, weights) if likelihood == Gaussian() else np.average(predicted, 0, weights=weights)
    same(likelihood.combine(predicted, weights), expected)
    if weights is None:
        same(likelihood.predict(likelihood.combine_raw(raw_of(likelihood))), expected)


@every
def test_medians_of_members(likelihood):
    predicted = PREDICTED[likelihood.name]
    if likelihood == Gaussian():
        with pytest.raises(ValueError, match='combined as a mixture.*Received: combination="?.median'):
            likelihood.combine(predicted, combination="median")
        return
    expected = uncertainty.median(predicted)
    if isinstance(likelihood, Categorical):
        expected = expected / np.sum(expected, -1, keepdims=True)
    same(likelihood.combine(predicted, combination="median"), expected)
    same(likelihood.combine(predicted, None, ("trimmed_mean", 2)), uncertainty.trimmed_mean(predicted, None, 2))


@pytest.mark.parametrize("likelihood", [LOGITS, YES])
def test_combined_logits_stay_finite_where_probabilities_vanish(likelihood):
    extreme = np.array([[[500.0, -500.0]], [[400.0, -300.0]]], "float32")
    raw = np.asarray(likelihood.combine_raw(extreme))
    assert np.isfinite(raw).all() and raw[0, 0] - raw[0, 1] > 300
    assert np.isfinite(np.asarray(likelihood.to_raw(likelihood.predict(extreme)))).all()


def tempered(name):
    predicted = PREDICTED[name].astype("float64")
    if name in ("softmax", "categorical"):
        powers = predicted ** (1 / T)
        return powers / powers.sum(-1, keepdims=True)
    if name in ("sigmoid", "bernoulli"):
        yes, no = predicted ** (1 / T), (1 - predicted) ** (1 / T)
        return yes / (yes + no)
    return np.concatenate([predicted[..., :2], predicted[..., 2:] * T], -1) if name == "gaussian" else predicted


@every
def test_temperatures_of_predictions_and_of_raw_outputs(likelihood):
    same(likelihood.temper(ops.convert_to_tensor(PREDICTED[likelihood.name]), T), tempered(likelihood.name))
    raw = ops.convert_to_tensor(raw_of(likelihood))
    same(likelihood.predict(likelihood.temper_raw(raw, T)), tempered(likelihood.name))
    assert likelihood.has_temperature != isinstance(likelihood, Value)


def nll(likelihood, prediction, labels):
    """Of each row."""
    if likelihood == Gaussian():
        means, variances = np.split(prediction, 2, -1)
        return -scipy.stats.norm.logpdf(labels, means, np.sqrt(variances)).sum(-1)
    if isinstance(likelihood, Categorical):
        return -np.log(prediction[np.arange(B), labels])
    return -scipy.stats.bernoulli.logpmf(labels, prediction).sum(-1)


@pytest.mark.parametrize("likelihood", [Categorical(), Bernoulli(), Gaussian()])
def test_the_fitted_temperature_has_the_lowest_negative_log_likelihood(likelihood):
    labels = {
        Categorical(): np.arange(B) % C, Bernoulli(): RANDOM.integers(0, 2, (B, C)),
        Gaussian(): RANDOM.normal(size=(B, 2)),
    }[likelihood]  # fmt: skip
    weights = np.arange(B) + 1.0
    prediction = PREDICTED[likelihood.name][0].astype("float64")

    def loss(logarithm):
        at = np.asarray(likelihood.temper(ops.convert_to_tensor(prediction), np.exp(logarithm)))
        return np.average(nll(likelihood, at, labels), weights=weights)

    found = likelihood.fit_temperature(prediction, labels, weights)
    best = scipy.optimize.minimize_scalar(loss, bounds=(-6.9, 6.9), method="bounded", options={"xatol": 1e-6})
    np.testing.assert_allclose(loss(np.log(found)), best.fun, rtol=1e-6)


@pytest.mark.parametrize(("likelihood", "shape"), [(Bernoulli(), r"\(4, 3\)"), (Gaussian(), r"\(4, 1\)")])
def test_labels_of_another_width_are_named(likelihood, shape):
    prediction = np.full((4, 3 if likelihood == Bernoulli() else 2), 0.5)
    with pytest.raises(ValueError, match=rf"Labels must be of shape {shape}. Received: labels of shape \(4, 2\)"):
        likelihood.fit_temperature(prediction, np.zeros((4, 2)), np.ones(4))


def test_values_have_no_temperature_to_fit():
    with pytest.raises(ValueError, match="set `output_activation`. Received: an output of values"):
        Value().fit_temperature(RAW[0], RAW[0], np.ones(B))


@every
def test_measures_take_distributions(likelihood):
    taken = likelihood.distributions(PREDICTED[likelihood.name])
    values = {measure.__name__: measure for measure in likelihood.measures}
    assert set(likelihood.default_measures) <= set(values)
    for name in likelihood.default_measures:
        assert np.isfinite(np.asarray(values[name](taken))).all()
    if isinstance(likelihood, Bernoulli):
        expected = scipy.stats.bernoulli.entropy(PREDICTED[likelihood.name].astype("float64").mean(0))
        same(values["predictive_entropy"](taken), expected)


@every
def test_logits_of_classes(likelihood):
    if not likelihood.from_logits:
        with pytest.raises(ValueError, match="needs logits"):
            likelihood.logits(RAW)
        return
    probabilities = scipy.special.softmax(likelihood.logits(RAW), -1)
    same(probabilities, likelihood.distributions(likelihood.predict(RAW)))


@every
def test_moments_are_what_may_be_averaged(likelihood):
    predicted = PREDICTED[likelihood.name]
    received = likelihood.from_moments(np.average(likelihood.moments(predicted), 0, weights=WEIGHTS))
    same(received, likelihood.combine(predicted, WEIGHTS))


@every
def test_classes_and_their_probabilities(likelihood):
    assert likelihood.num_classes(C) == (C if isinstance(likelihood, Categorical) else None)
    assert likelihood.has_class_probabilities == isinstance(likelihood, Categorical | Bernoulli)
    assert likelihood.multi_label is {Bernoulli: True, Value: None}.get(type(likelihood), False)
    assert np.isfinite(likelihood.neutral(C)).all() and likelihood.neutral(C).shape == (C,)
    same(likelihood.combine(np.stack([likelihood.neutral(C)] * 2)[:, None])[0], likelihood.neutral(C))


def test_a_report_of_one_question_has_two_classes():
    one = PREDICTED["sigmoid"][..., :1]
    same(YES.class_probabilities(one), np.concatenate([1 - one, one], -1))
    assert LOGITS.class_probabilities(one) is one
    with pytest.raises(ValueError, match="require mutually exclusive classes. Received: 4 separate"):
        YES.class_probabilities(PREDICTED["sigmoid"])


@every
def test_names_and_likelihoods_are_one_to_one(likelihood):
    assert sources.named([likelihood.name]) == [likelihood] and sources.names_of([likelihood]) == [likelihood.name]
    assert [each for each in sources.KNOWN if each == likelihood] == [likelihood]
