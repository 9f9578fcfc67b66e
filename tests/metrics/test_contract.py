"""What holds for every metric."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.metrics.oracle import BY_MEMBERS
from tests.metrics.oracle import CASES
from tests.metrics.oracle import CLASSES
from tests.metrics.oracle import OF_MEMBERS
from tests.metrics.oracle import OOD
from tests.metrics.oracle import REGRESSION
from tests.metrics.oracle import SCORED
from tests.metrics.oracle import WEIGHTS
from tests.metrics.oracle import C
from tests.metrics.oracle import case_name
from tests.metrics.oracle import for_members
from tests.metrics.oracle import softmax

every_case = pytest.mark.parametrize("case", CASES, ids=case_name)


def score(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


def exact(case):
    return pytest.approx(float(case.exact(case.labels, case.predictions)), rel=1e-4, abs=case.tolerance)


def test_every_metric_has_a_case():
    public = {name for name in vars(khe.metrics) if isinstance(getattr(khe.metrics, name), type)}
    assert public == {case.metric.__name__ for case in CASES}
    assert len({case.new().name for case in CASES}) == len(public)


@every_case
def test_equals_an_independent_implementation(case):
    assert score(case.new(), (case.labels, case.predictions)) == exact(case)
    lists = case.labels.tolist(), case.predictions.tolist()
    assert score(case.new(), lists) == exact(case)


@every_case
def test_batches_add_up_and_reset(case):
    metric, axis = case.new(), case.rows_axis
    parts = zip(*[np.split(array, [7, 8, 200], axis) for array in (case.labels, case.predictions)])
    assert score(metric, *parts) == pytest.approx(score(case.new(), (case.labels, case.predictions)), rel=1e-5)
    metric.reset_state()
    assert score(metric, (case.labels, case.predictions)) == exact(case)


@every_case
def test_weights_count_as_repetitions(case):
    axis = case.rows_axis
    repeated = [np.repeat(array, WEIGHTS, axis) for array in (case.labels, case.predictions)]
    weights = for_members(WEIGHTS) if axis else WEIGHTS
    expected = pytest.approx(score(case.new(), repeated), rel=1e-4)
    assert score(case.new(), (case.labels, case.predictions, weights)) == expected
    assert score(case.new(), (case.labels, case.predictions, weights[..., None])) == expected


@every_case
def test_tensors_as_arrays_in_float32_also_of_float16(case):
    metric = case.new()
    metric.update_state(case.labels, tf.cast(case.predictions, tf.float16))
    assert float(metric.result()) == pytest.approx(exact(case).expected, rel=0.05, abs=0.02)
    assert {variable.dtype for variable in metric.variables} == {"float32"}


@every_case
def test_config(case):
    metric = case.new()
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(twin) is case.metric and twin.get_config() == metric.get_config()
    assert score(twin, (case.labels, case.predictions)) == score(metric, (case.labels, case.predictions))


@every_case
def test_without_rows_and_with_nan(case):
    nothing = float(case.new().result())
    assert np.isnan(nothing) if case.metric.__name__.startswith("OutOf") else nothing == 0
    spoiled = case.predictions.copy()
    spoiled[0] = np.nan
    with pytest.raises(ValueError, match=r"`y_pred` must be finite. Received: \d+ values"):
        case.new().update_state(case.labels, spoiled)
    assert np.isnan(score(case.new(), (case.labels, tf.constant(spoiled))))
    with pytest.raises(ValueError, match=r"`y_pred` must have at least one sample.*Received: shape=\(0,"):
        case.new().update_state(case.labels[:0], case.predictions[:0])


@every_case
def test_wrong_weights_are_named(case):
    with pytest.raises(ValueError, match=r"`sample_weight` must have the leading axes.*Received: shape=\(.*7,?\)"):
        case.new().update_state(case.labels, case.predictions, np.ones((*case.labels.shape[:-1], 7)))
    negative = -np.ones(case.labels.shape[:1] if case in REGRESSION else case.labels.shape)
    with pytest.raises(ValueError, match="`sample_weight` must be at least 0. Received: values from -1"):
        case.new().update_state(case.labels, case.predictions, negative)


in_a_graph_and_by_xla = pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.integration)], ids=["graph", "xla"]
)


@in_a_graph_and_by_xla
@pytest.mark.parametrize("cases", [CLASSES, OOD, SCORED, REGRESSION], ids=["classes", "ood", "scores", "regression"])
def test_inside_a_compiled_model(cases, jit_compile):
    labels, predictions = cases[0].labels, cases[0].predictions.reshape(len(cases[0].predictions), -1)
    model = keras.Sequential([keras.Input(predictions.shape[1:]), keras.layers.Activation("linear")])
    weighted = [case.new() for case in cases]
    model.compile(loss=lambda y, x: x[:, 0], weighted_metrics=weighted, jit_compile=jit_compile)
    logs = model.evaluate(predictions, labels, 128, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    for case in cases:
        expected = case.exact(*[np.repeat(array, WEIGHTS, 0) for array in (case.labels, case.predictions)])
        assert float(logs[case.new().name]) == pytest.approx(float(expected), rel=1e-4, abs=2 * case.tolerance)


@pytest.mark.integration
@in_a_graph_and_by_xla
@pytest.mark.filterwarnings("ignore:No tuning data")
def test_of_the_members_of_a_compiled_ensemble(tmp_path, jit_compile):
    x = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
    y = np.where(np.arange(96) % 3 == 0, -1, x.argmax(-1))
    space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-4, 1.0, "log")])
    members = {"ensemble_size": 3, "space": space}
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(C, **members, kernel_l2="l2")])
    ensemble = khe.HyperBatchEnsemble(network, space=space, ensemble_size=3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    ensemble.compile(
        "adam",
        loss,
        metrics=[khe.metrics.OutOfDistributionAUPR()],
        member_metrics=[case.new() for case in OF_MEMBERS],
        jit_compile=jit_compile,
    )
    ensemble.run_eagerly = not jit_compile  # its training; the graph is that of the evaluation
    ensemble.fit(x, y, epochs=1, verbose=0)
    ensemble.run_eagerly = False
    logs = ensemble.evaluate(x, y, verbose=0, return_dict=True)
    members = ensemble.predict_members(x, verbose=0)
    for case in OF_MEMBERS:
        rows = y >= 0 if case.metric is khe.metrics.GibbsLoss else slice(None)  # its loss ignores the label -1
        expected = case.exact(for_members(y)[:, rows], members[:, rows])
        assert float(logs[case.new().name]) == pytest.approx(expected, rel=1e-4, abs=1e-3)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    again = loaded.evaluate(x, y, verbose=0, return_dict=True)
    for name, value in logs.items():
        assert float(again[name]) == pytest.approx(float(value), rel=1e-4)
    assert BY_MEMBERS["measure"] in [getattr(metric, "measure", None) for metric in loaded.metrics]


CONSTRUCTORS = [
    (khe.metrics.AdaptiveCalibrationError, {"num_bins": 0}, "`num_bins` must be a positive integer.*num_bins=0"),
    (khe.metrics.ExpectedCalibrationError, {"num_bins": 2.5}, "num_bins=2.5"),
    (khe.metrics.ExpectedCalibrationError, {"num_bins": 10**9}, "of at most 1000000. Received: num_bins=1000000000"),
    (khe.metrics.AdaptiveCalibrationError, {"num_bins": True}, "num_bins=True"),
    (khe.metrics.SelectiveAccuracy, {"coverage": 0}, r"`coverage` must be in \(0, 1\]. Received: coverage=0"),
    (khe.metrics.IntervalCoverage, {"coverage": 1}, r"`coverage` must be in \(0, 1\). Received: coverage=1"),
    (khe.metrics.OutOfDistributionAUROC, {"measure": "entropy"}, "`measure` must be one of .*measure='entropy'"),
    (khe.metrics.OutOfDistributionAUPR, {"ood_class": "x"}, "`ood_class` must be an integer. Received: ood_class='x'"),
]


@pytest.mark.parametrize("metric, arguments, message", CONSTRUCTORS)
def test_bad_arguments_are_named(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(**arguments)


P = softmax(np.zeros((5, 3)))
BAD_CLASSES = [
    ([0, 1, 2, 3, 0], P, r"classes in \[0, 3\). Received: \[3\]"),
    ([0, 1, 2, -1, 0], P, r"classes in \[0, 3\). Received: \[-1\]"),
    ([0, 1, 2, 0.5, 0], P, r"classes in \[0, 3\). Received: \[0.5\]"),
    ([0, 1, 2, np.nan, 0], P, "`y_true` must be finite. Received: 1 values"),
    ([0, 1, 2, 0], P, r"`y_true` must be classes of shape \(5,\).*Received: shape=\(4,\)"),
    (np.ones((5, 2)), P, r"one-hot labels \(5, 3\). Received: shape=\(5, 2\)"),
    (np.ones((5, 3)), P, "One-hot labels must have one 1 per sample"),
    ([0] * 5, P[:, 0], r"`y_pred` must be probabilities \(batch_size, ..., C\). Received: shape=\(5,\)"),
    ([0] * 5, 2 * P, "sum to 1.*Received: values from 0.6667, sums from 2 to 2"),
    ([0] * 5, np.full((5, 1), 1.5), r"probability of class 1 must be in \[0, 1\].*values from 1.5"),
    (tf.zeros(4), tf.constant(P), r"`y_true` must be classes of shape \(5,\).*Received: shape=\(4,\)"),
]


@pytest.mark.parametrize("labels, predictions, message", BAD_CLASSES)
@pytest.mark.parametrize("metric", ["NegativeLogLikelihood", "BrierScore", "ExpectedCalibrationError"])
def test_bad_labels_and_probabilities_are_named(metric, labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        getattr(khe.metrics, metric)().update_state(labels, predictions)


@pytest.mark.parametrize("metric", ["GibbsLoss", "Disagreement", "KLDiversity"])
def test_members_are_needed(metric):
    with pytest.raises(ValueError, match=r"all members.*`member_metrics`.*Received: shape=\(5, 3\)"):
        getattr(khe.metrics, metric)().update_state([0] * 5, P)


@pytest.mark.parametrize("case", CLASSES, ids=case_name)
def test_labels_of_every_kind(case):
    expected = pytest.approx(score(case.new(), (case.labels, case.predictions)), rel=1e-5)
    assert score(case.new(), (case.labels[:, None], case.predictions)) == expected
    assert score(case.new(), (np.eye(C)[case.labels], case.predictions)) == expected
    images = case.labels.reshape(15, 20), case.predictions.reshape(15, 20, C)
    assert score(case.new(), images) == expected
    assert score(case.new(), (*images, np.ones(15))) == expected
    assert score(case.new(), (images[0][..., None], images[1])) == expected


@pytest.mark.parametrize("case", [*CLASSES, *OF_MEMBERS], ids=case_name)
def test_one_probability_is_that_of_class_one(case):
    one = case.predictions[..., :1]
    labels = np.minimum(case.labels, 1)
    assert score(case.new(), (labels, one)) == pytest.approx(
        score(case.new(), (labels, np.concatenate([1 - one, one], -1))), rel=1e-4
    )
