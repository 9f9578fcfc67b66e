"""Predictions and labels of every form, in every mode: the right number, or none."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import keras_hyperens as khe
from tests.metrics.oracle import CLASSES
from tests.metrics.oracle import LABELS
from tests.metrics.oracle import PROBABILITIES
from tests.metrics.oracle import C
from tests.metrics.oracle import case_name

LOGITS = np.log(PROBABILITIES) + 3.0
SIGMOIDS = scipy.special.expit(LOGITS - 4).astype("float32")  # [B, C], of C labels each
MANY_LABELS = (np.random.default_rng(1).random(SIGMOIDS.shape) < SIGMOIDS).astype(int)
SOFT = np.random.default_rng(2).dirichlet(np.ones(C), len(LABELS)).astype("float32")
every_case = pytest.mark.parametrize("case", CLASSES, ids=case_name)
OF_ENTROPY = [khe.metrics.OutOfDistributionAUROC, khe.metrics.OutOfDistributionFPR95]


def score(metric, *batch, eagerly=True):
    update = metric.update_state if eagerly else tf.function(metric.update_state, autograph=False)
    update(*[each if eagerly else tf.constant(each) for each in batch])
    return float(metric.result())


@every_case
def test_logits_are_those_of_the_probabilities(case):
    expected = pytest.approx(score(case.new(), LABELS, PROBABILITIES), rel=1e-3)
    assert score(case.metric(from_logits=True), LABELS, LOGITS) == expected
    binary = np.minimum(LABELS, 1), scipy.special.logit(PROBABILITIES[:, :1])
    expected = score(case.new(), binary[0], scipy.special.expit(binary[1]))
    assert score(case.metric(from_logits=True), *binary) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("metric", OF_ENTROPY)
def test_logits_of_rows_out_of_distribution(metric):
    labels = np.where(LABELS == 0, -1, LABELS)
    assert score(metric(from_logits=True), labels, LOGITS) == pytest.approx(score(metric(), labels, PROBABILITIES))


@every_case
def test_several_labels_of_a_row_are_rows_of_two_classes(case):
    one_by_one = score(case.new(), MANY_LABELS.reshape(-1), SIGMOIDS.reshape(-1, 1))
    assert score(case.metric(multi_label=True), MANY_LABELS, SIGMOIDS) == pytest.approx(one_by_one, rel=1e-5)
    weights = np.arange(len(SIGMOIDS)) % 3
    repeated = score(case.metric(multi_label=True), *[np.repeat(each, weights, 0) for each in (MANY_LABELS, SIGMOIDS)])
    assert score(case.metric(multi_label=True), MANY_LABELS, SIGMOIDS, weights) == pytest.approx(repeated, rel=1e-4)


def test_many_labels_and_soft_ones_cost_what_keras_says():
    cross_entropy = keras.losses.BinaryCrossentropy()(MANY_LABELS, SIGMOIDS)
    nll = khe.metrics.NegativeLogLikelihood
    assert score(nll(multi_label=True), MANY_LABELS, SIGMOIDS) == pytest.approx(float(cross_entropy), rel=1e-4)
    cross_entropy = keras.losses.CategoricalCrossentropy()(SOFT, PROBABILITIES)
    assert score(nll(), SOFT, PROBABILITIES) == pytest.approx(float(cross_entropy), rel=1e-4)
    cross_entropy = keras.losses.BinaryCrossentropy()(SOFT[:, :1], SIGMOIDS[:, :1])
    assert score(nll(), SOFT[:, 0], SIGMOIDS[:, :1]) == pytest.approx(float(cross_entropy), rel=1e-4)
    assert score(khe.metrics.BrierScore(), SOFT, PROBABILITIES) == pytest.approx(
        ((SOFT - PROBABILITIES) ** 2).sum(-1).mean(), rel=1e-4
    )


@pytest.mark.parametrize("case", [case for case in CLASSES if case.metric is not khe.metrics.BrierScore], ids=case_name)
def test_soft_labels_are_classes_with_weights(case):
    classes, rows = np.tile(np.arange(C), len(SOFT)), np.repeat(PROBABILITIES, C, 0)
    expected = score(case.new(), classes, rows, SOFT.reshape(-1))
    assert score(case.new(), SOFT, PROBABILITIES) == pytest.approx(expected, rel=1e-4)


@every_case
def test_an_ignored_class_and_rows_without_weight_do_not_count(case):
    keep = LABELS != 2
    expected = pytest.approx(score(case.new(), LABELS[keep], PROBABILITIES[keep]), rel=1e-4)
    assert score(case.metric(ignore_class=2), LABELS, PROBABILITIES) == expected
    assert score(case.metric(ignore_class=-7), np.where(keep, LABELS, -7), PROBABILITIES) == expected
    spoiled = np.where(keep[:, None], PROBABILITIES, 9.0)
    assert score(case.new(), np.where(keep, LABELS, 99), spoiled, keep.astype(int)) == expected


WRONG = [
    (LABELS, LOGITS, {}, r"`y_pred` must be probabilities.*from_logits=True.*Received: \d+ samples"),
    (MANY_LABELS, SIGMOIDS, {}, r"`y_pred` must be probabilities.*multi_label=True.*Received: \d+ samples"),
    (MANY_LABELS, PROBABILITIES, {}, r"`y_true` must be classes.*multi_label=True.*Received: \d+ samples"),
    (
        np.where(LABELS == 2, -1, LABELS),
        PROBABILITIES,
        {},
        r"`y_true` must be classes.*ignore_class.*Received: \d+ samples",
    ),
    (LABELS + 0.5, PROBABILITIES, {}, r"`y_true` must be classes.*Received: \d+ samples"),
    (2 * MANY_LABELS, SIGMOIDS, {"multi_label": True}, r"`y_true` must be classes.*Received: \d+ samples"),
]


@pytest.mark.parametrize(
    "labels, predictions, arguments, message", WRONG, ids=["logits", "many", "many-hot", "ignored", "halves", "twos"]
)
def test_a_graph_refuses_what_it_cannot_take(labels, predictions, arguments, message):
    for case in (CLASSES[0], CLASSES[2]):
        metric = case.metric(**arguments)

        def updated(y, p, metric=metric):
            metric.update_state(y, p)
            return metric.result()

        result = tf.function(updated, autograph=False)
        assert np.isnan(result(labels, predictions))  # what is logged for each batch
        with pytest.raises(ValueError, match=message + f".*{metric.name}"):
            metric.result()
        with pytest.raises(ValueError, match="Received: "):
            case.metric(**arguments).update_state(labels, predictions)
        metric.reset_state()
        assert score(metric, *[np.full(predictions.shape, 1 / C)] * 2) >= 0  # nothing is left of them


def test_rows_out_of_distribution_in_a_graph():
    for metric in OF_ENTROPY:
        for labels, predictions, name in ((LABELS, LOGITS, "y_pred"), (LABELS + 9, PROBABILITIES, "y_true")):
            with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: \d+ samples"):
                score(metric(), labels, predictions.astype("float32"), eagerly=False)


GAUSSIAN = [
    khe.metrics.GaussianNegativeLogLikelihood,
    khe.metrics.ContinuousRankedProbabilityScore,
    khe.metrics.IntervalCoverage,
]


@pytest.mark.parametrize("metric", GAUSSIAN)
def test_logarithms_of_scales(metric):
    means, logarithms = LOGITS[:, :1], LOGITS[:, 1:2] - 5
    raw, variances = np.concatenate([means, logarithms], -1), np.concatenate([means, np.exp(2 * logarithms)], -1)
    expected = pytest.approx(score(metric(), LABELS, variances), rel=1e-4)
    assert score(metric(from_log_scale=True), LABELS, raw) == expected
    with pytest.raises(ValueError, match=r"variances of at least 0.*from_log_scale=True.*Received: \d+ samples"):
        score(metric(), LABELS, raw, eagerly=False)


def test_a_diverged_model_is_not_refused():
    assert np.isnan(score(khe.metrics.NegativeLogLikelihood(), LABELS, PROBABILITIES * np.nan, eagerly=False))


@pytest.mark.parametrize("metric", [case.metric for case in CLASSES] + GAUSSIAN)
def test_strings_are_named(metric):
    with pytest.raises(ValueError, match="`y_true` must be numbers: encode strings as classes .* Received: dtype="):
        metric().update_state(["cat", "dog"], np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="`y_true` must be numbers"):
        metric().update_state(tf.constant(["cat", "dog"]), tf.constant([[0.5, 0.5]] * 2))


def ensemble_of(units, activation, loss, **compile_arguments):
    members = {"ensemble_size": 2}
    network = keras.Sequential([keras.Input((3,)), khe.HyperBatchDense(units, activation, **members)])
    ensemble = khe.HyperBatchEnsemble(network, **members)
    ensemble.compile("sgd", loss, run_eagerly=True, **compile_arguments)
    return ensemble


X = np.random.default_rng(3).normal(size=(40, 3)).astype("float32")


@pytest.mark.parametrize("from_logits", [False, True])
def test_an_ensemble_says_that_a_row_has_several_labels(from_logits):
    y = (X > 0).astype(int)
    loss = keras.losses.BinaryCrossentropy(from_logits=from_logits)
    metrics = {"metrics": [khe.metrics.NegativeLogLikelihood()], "member_metrics": [khe.metrics.GibbsLoss()]}
    ensemble = ensemble_of(3, None if from_logits else "sigmoid", loss, **metrics)
    logs = ensemble.evaluate(X, y, verbose=0, return_dict=True)
    assert logs["nll"] == pytest.approx(logs["loss"], rel=1e-4)
    members = [float(keras.losses.BinaryCrossentropy()(y, each)) for each in ensemble.predict_members(X, verbose=0)]
    assert logs["gibbs_loss"] == pytest.approx(np.mean(members), rel=1e-4)
    deep = khe.HyperDeepEnsemble(
        [ensemble.member(0), ensemble.member(1)], output_activation=ensemble.likelihoods.name if from_logits else None
    )
    deep.compile(
        loss=keras.losses.BinaryCrossentropy(), metrics=[khe.metrics.NegativeLogLikelihood()], run_eagerly=True
    )
    assert deep.evaluate(X, y, verbose=0, return_dict=True)["nll"] == pytest.approx(logs["nll"], rel=1e-4)


def test_an_ensemble_says_which_class_does_not_count():
    y = np.where(X[:, 0] > 0, -1, X.argmax(-1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    metric = khe.metrics.NegativeLogLikelihood()
    logs = ensemble_of(3, None, loss, metrics=[metric]).evaluate(X, y, 40, verbose=0, return_dict=True)
    assert logs["nll"] == pytest.approx(logs["loss"], rel=1e-4)


def test_metrics_of_gaussians_get_variances_from_an_ensemble():
    metric = khe.metrics.IntervalCoverage(from_log_scale=True)
    with pytest.raises(ValueError, match="means and variances.*Received: metric 'coverage' with from_log_scale=True"):
        ensemble_of(2, None, khe.losses.GaussianNegativeLogLikelihood(), metrics=[metric])


@every_case
def test_callbacks_know_which_way_is_better(case):
    metric = case.new()
    stop = keras.callbacks.EarlyStopping(f"val_{metric.name}")
    model = keras.Sequential([keras.Input((2,))])
    model.compile(metrics=[metric])
    model.compute_metrics(None, np.array([0, 1]), np.full((2, 2), 0.5), None)
    stop.set_model(model)
    stop._set_monitor_op()
    worse, best = (0.1, 0.9) if isinstance(metric, khe.metrics.SelectiveAccuracy) else (0.9, 0.1)
    assert stop._is_improvement(best, worse) and not stop._is_improvement(worse, best)


def test_callbacks_of_an_ensemble_know_it_too():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ensemble = ensemble_of(3, None, loss, metrics=[khe.metrics.NegativeLogLikelihood()])
    stop = keras.callbacks.EarlyStopping("val_nll", patience=1)  # mode "auto"
    y = X.argmax(-1)
    logs = ensemble.fit(X, y, 40, 2, validation_data=(X, y), callbacks=[stop], verbose=0).history
    assert stop.monitor_op is keras.ops.less and float(stop.best) == pytest.approx(min(logs["val_nll"]))
