"""Decisions of both ensembles: against NumPy, in files and exports, and when they are forgotten."""

import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens import uncertainty
from keras_hyperens.likelihoods import Quantiles
from keras_hyperens.models.temperatures import Temperatures
from tests.models.networks import LOGITS
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network
from tests.models.networks import members
from tests.serving import predicted_by

X, Y = blobs(120)
RANDOM = np.random.default_rng(0)


def deep(outputs=3, loss=LOGITS, activation=None, size=2):
    def member():
        hidden = keras.layers.Dense(5, "relu")
        model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(outputs, activation)])
        model.compile("sgd", loss)
        return model

    keras.utils.set_random_seed(0)
    ensemble = khe.HyperDeepEnsemble([member() for _ in range(size)])
    ensemble.run_eagerly = True  # a trace takes longer than these samples
    return ensemble


def hyper_batch():
    keras.utils.set_random_seed(0)
    return compiled(dense_network(), run_eagerly=True)


def threshold_by_rank(scores, coverage):
    return np.sort(scores)[int(np.ceil((len(scores) + 1) * coverage)) - 1]


def decided(ensemble, x=X):
    return ensemble.decide(x, batch_size=50, verbose=0)


@pytest.mark.parametrize("make", [hyper_batch, deep])
def test_sets_labels_and_refusals_equal_numpy(make):
    ensemble = make()
    ensemble._set_temperatures(Temperatures("ensemble", (0.7,)))
    found = ensemble.conformalize(X, Y, coverage=0.8, verbose=0)
    abstention = ensemble.abstain(X, answered=0.75, verbose=0)
    p = ensemble.predict(X, verbose=0)
    threshold = threshold_by_rank(1 - p[np.arange(120), Y], 0.8)
    np.testing.assert_allclose(found.outputs[0].thresholds, threshold, atol=2e-5)
    np.testing.assert_allclose(abstention.thresholds, np.sort(p.max(-1))[-90], atol=2e-5)
    answers = decided(ensemble)
    assert set(answers) == {"prediction", "label", "set", "refused"}
    np.testing.assert_allclose(answers["prediction"], p, atol=1e-6)
    np.testing.assert_array_equal(answers["label"], p.argmax(-1))
    np.testing.assert_array_equal(answers["set"], 1 - p <= found.outputs[0].thresholds[0])
    assert answers["refused"].sum() == 30 and p.max(-1)[answers["refused"]].max() < abstention.thresholds[0]
    assert ensemble.conformal == found and ensemble.abstention == abstention


@pytest.mark.parametrize("method", ["aps", "raps"])
def test_other_methods_are_those_of_the_class(method):
    ensemble = deep()
    found = ensemble.conformalize(X, Y, 0.7, method, per_class=True, verbose=0)
    p = ensemble.predict(X, verbose=0)
    expected = khe.decisions.ClassSets.fitted(p, Y, None, 0.7, method, per_class=True)
    assert found.outputs == (expected,) and found.per_class and len(expected.thresholds) == 3
    np.testing.assert_array_equal(decided(ensemble)["set"], expected.of(p))


@pytest.mark.parametrize("labels", [Y % 2, Y[:, None] % 2], ids=["[N]", "[N, 1]"])
def test_one_output_with_a_sigmoid(labels):
    ensemble = deep(1, keras.losses.BinaryCrossentropy(from_logits=True))
    found = ensemble.conformalize(X, labels, 0.7, per_class=True, verbose=0)
    ensemble.abstain(X, answered=0.5, measure="margin", verbose=0)
    p, yes = ensemble.predict(X, verbose=0)[:, 0], labels.reshape(-1)
    expected = [threshold_by_rank(np.abs(c - p)[yes == c], 0.7) for c in (0, 1)]
    np.testing.assert_allclose(found.outputs[0].thresholds, expected, atol=2e-5)
    answers = decided(ensemble)
    np.testing.assert_array_equal(answers["label"], p >= 0.5)
    assert answers["set"].shape == (120, 2) and answers["refused"].shape == (120,) and answers["refused"].sum() == 60
    np.testing.assert_array_equal(answers["set"][:, 1], 1 - p <= found.outputs[0].thresholds[1])


def test_questions_that_do_not_exclude_each_other_have_no_sets_but_refusals():
    ensemble = deep(3, keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="conformal sets require mutually exclusive classes. Received: 3 separate"):
        ensemble.conformalize(X, np.eye(3)[Y], verbose=0)
    ensemble.abstain(threshold=0.6)
    p, answers = ensemble.predict(X, verbose=0), decided(ensemble)
    np.testing.assert_array_equal(answers["label"], p >= 0.5)
    np.testing.assert_array_equal(answers["refused"], np.maximum(p, 1 - p) < 0.6)


TARGETS = X[:, :1] + RANDOM.normal(0, 0.3, (120, 1)).astype("float32")


@pytest.mark.parametrize("kind", ["values", "gaussian", "quantiles"])
@pytest.mark.parametrize("number", [1, 2])
def test_intervals(kind, number):
    loss, width = {
        "values": ("mse", 1),
        "gaussian": (khe.losses.GaussianNegativeLogLikelihood(), 2),
        "quantiles": (khe.losses.Quantile((0.1, 0.5, 0.9)), 3),
    }[kind]
    ensemble, targets = deep(number * width, loss), np.tile(TARGETS, (1, number)) * [[1, 2]][0][:number]
    found = ensemble.conformalize(X, targets if number > 1 else targets[:, 0], 0.8, verbose=0)
    prediction, answers = ensemble.predict(X, verbose=0), decided(ensemble)
    assert set(answers) == {"prediction", "interval"} and answers["interval"].shape == (120, number, 2)
    lower, upper = prediction[:, :number], prediction[:, -number:] if kind == "quantiles" else prediction[:, :number]
    scale = np.sqrt(prediction[:, number:]) if kind == "gaussian" else np.ones_like(lower)
    scores = np.maximum(lower - targets, targets - upper) / scale
    thresholds = [threshold_by_rank(scores[:, d], 0.8) for d in range(number)]
    np.testing.assert_allclose(found.outputs[0].thresholds, thresholds, atol=1e-5)
    ends = np.stack([lower - scale * thresholds, upper + scale * thresholds], -1)
    np.testing.assert_allclose(answers["interval"], ends, atol=1e-4)
    inside = (answers["interval"][..., 0] <= targets) & (targets <= answers["interval"][..., 1])
    assert (inside.mean(0) >= 0.78).all()
    ensemble.abstain(X, answered=0.9, verbose=0)
    measure = "total_variance" if kind == "gaussian" else "variance"
    assert ensemble.abstention.measures == (measure,)
    refused = decided(ensemble)["refused"]
    shape = (120,) if kind == "quantiles" or number == 1 else (120, number)  # quantiles of a sample: one decision
    assert refused.shape == shape and refused.sum() == int(0.1 * np.prod(shape))
    if kind == "quantiles":
        variance = ensemble.predict_members(X, verbose=0).var(0).mean(-1)
        np.testing.assert_array_equal(refused, variance > ensemble.abstention.thresholds[0])


@pytest.mark.integration
def test_a_quantile_network_trains_and_its_intervals_are_narrower_where_noise_is_small(tmp_path):
    keras.utils.set_random_seed(0)
    x = RANDOM.uniform(-1, 1, (600, 4)).astype("float32")
    y = np.where(x[:, :1] > 0, 1.0, 0.05) * RANDOM.normal(size=(600, 1))
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(16, "relu", kernel_l2="l2", **members()),
                                khe.HyperBatchDense(2, **members())])  # fmt: skip
    with pytest.warns(UserWarning, match="Neither a layer nor the loss uses"):
        ensemble = khe.HyperBatchEnsemble(network, seed=0)
        ensemble.compile(keras.optimizers.Adam(0.02), khe.losses.Quantile((0.1, 0.9)), run_eagerly=True)
    ensemble.fit(x[:400], y[:400], 100, epochs=8, tuning_split=0.1, verbose=0)
    assert ensemble.likelihoods == Quantiles()
    ensemble.conformalize(x[400:500], y[400:500], 0.8, verbose=0)
    ends = decided(ensemble, x[500:])["interval"][:, 0]
    inside = ((ends[:, 0] <= y[500:, 0]) & (y[500:, 0] <= ends[:, 1])).mean()
    widths = np.diff(ends)[:, 0]
    assert 0.65 < inside < 0.95 and widths[x[500:, 0] > 0].mean() > 1.5 * widths[x[500:, 0] < 0].mean()
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras", compile=False)
    np.testing.assert_allclose(decided(loaded, x[500:])["interval"][:, 0], ends, atol=1e-5)


def two_outputs(structure):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, "relu")(inputs)
    parts = {"kind": keras.layers.Dense(3, name="kind")(hidden), "size": keras.layers.Dense(1, name="size")(hidden)}
    model = keras.Model(inputs, parts if structure == "dict" else list(parts.values()))
    model.compile("adam", {"kind": LOGITS, "size": "mse"})
    ensemble = khe.HyperDeepEnsemble([model])
    ensemble.run_eagerly = True
    return ensemble


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_several_outputs(structure, tmp_path):
    ensemble = two_outputs(structure)
    labels = {"kind": Y, "size": TARGETS} if structure == "dict" else [Y, TARGETS]
    found = ensemble.conformalize(X, labels, 0.7, {"kind": "aps", "size": "interval"}, verbose=0)
    assert [each.method for each in found.outputs] == ["aps", "interval"]
    ensemble.abstain(threshold={"kind": 0.4, "size": 1.0}, measure={"kind": "margin"})
    answers = decided(ensemble)
    assert set(answers) == {
        "kind_prediction", "kind_label", "kind_set", "kind_refused", "size_prediction", "size_interval", "size_refused",
    }  # fmt: skip
    p = answers["kind_prediction"]
    np.testing.assert_array_equal(answers["kind_refused"], uncertainty.margin(p[None]) < 0.4)
    assert not answers["size_refused"].any()  # one member: no variance
    inside = np.abs(answers["size_prediction"] - TARGETS) <= found.outputs[1].thresholds[0]
    np.testing.assert_allclose(inside.mean(), 0.71, atol=0.02)
    ensemble.abstain(X, answered=0.5, verbose=0)
    assert decided(ensemble)["kind_refused"].sum() == 60
    for argument, wrong in (("measure", ["margin"]), ("measure", {"sise": "variance"}), ("threshold", [1.0])):
        with pytest.raises(ValueError, match=f"`{argument}` must have one entry for each of 2 outputs.*'kind', 'size'"):
            ensemble.abstain(**{"threshold": 0.5, argument: wrong})
    for names in ({"sise": np.ones(120)}, {}):
        with pytest.raises(ValueError, match="`sample_weight` must have one entry for each of 2 outputs"):
            ensemble.conformalize(X, labels, sample_weight=names, verbose=0)
    for fit in (ensemble.conformalize, ensemble.calibrate):
        with pytest.raises(ValueError, match="labels for each of 2 outputs. Received: labels for 1"):
            fit(X, {"kind": Y}, verbose=0)
    with pytest.raises(ValueError, match="`method` must have one entry for each of 2 outputs"):
        ensemble.conformalize(X, labels, method=["aps"], verbose=0)
    for wrong in ({"kind": 0.4}, ["high", 1]):
        with pytest.raises(ValueError, match="`threshold` must be a finite number for each output"):
            ensemble.abstain(threshold=wrong)


def test_weights_masks_and_ignored_classes_count_as_in_calibrate():
    tokens = RANDOM.integers(1, 9, (30, 5))
    tokens[:, 3:] = 0  # padding
    classes = RANDOM.integers(0, 3, (30, 5))
    classes[:10, 0] = -1
    network = keras.Sequential([keras.Input((5,)), keras.layers.Embedding(9, 4, mask_zero=True), keras.layers.Dense(3)])
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1))
    ensemble = khe.HyperDeepEnsemble([network])
    ignoring = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    ensemble.compile("adam", ignoring, run_eagerly=True)
    weight = RANDOM.integers(0, 3, 30).astype("float32")
    found = ensemble.conformalize(tokens, classes, 0.8, sample_weight=weight, verbose=0)
    p = ensemble.predict(tokens, verbose=0)
    counts = np.repeat(weight.astype(int)[:, None], 5, 1) * (tokens > 0) * (classes >= 0)
    scores = 1 - np.take_along_axis(p, np.maximum(classes, 0)[..., None], -1)[..., 0]
    np.testing.assert_allclose(
        found.outputs[0].thresholds[0], threshold_by_rank(scores.ravel().repeat(counts.ravel()), 0.8), atol=2e-5
    )
    assert decided(ensemble, tokens)["set"].shape == (30, 5, 3)
    abstention = ensemble.abstain(tokens, answered=0.5, sample_weight=weight, verbose=0)
    surest = np.sort(p.max(-1).ravel().repeat((weight.astype(int)[:, None] * (tokens > 0)).ravel()))[::-1]
    np.testing.assert_allclose(abstention.thresholds[0], surest[int(np.ceil(len(surest) / 2)) - 1], atol=2e-5)


@pytest.mark.parametrize("make", [hyper_batch, deep])
def test_files_hold_them(make, tmp_path):
    ensemble = make()
    ensemble.calibrate(X, Y, verbose=0)
    ensemble.conformalize(X, Y, 0.8, "raps", per_class=True, verbose=0)
    ensemble.abstain(X, answered=0.75, measure="mutual_information", verbose=0)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    loaded.run_eagerly = True
    assert (loaded.conformal, loaded.abstention) == (ensemble.conformal, ensemble.abstention)
    answers = decided(ensemble)
    for name, value in decided(loaded).items():
        np.testing.assert_allclose(value, answers[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("make", [pytest.param(hyper_batch, marks=pytest.mark.integration), deep])
def test_exports_hold_them(make, tmp_path):
    ensemble = make()
    if make is hyper_batch:
        ensemble.export(tmp_path / "before")
        assert "decide" not in tf.saved_model.load(tmp_path / "before").signatures
    ensemble.conformalize(X, Y, 0.8, "raps", per_class=True, verbose=0)
    ensemble.abstain(X, answered=0.75, verbose=0)
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures["decide"](inputs=tf.constant(X))
    answers = decided(ensemble)
    assert set(served) == set(answers) and served["set"].dtype == served["refused"].dtype == tf.bool
    for name, value in answers.items():
        np.testing.assert_allclose(served[name], value, atol=1e-6, err_msg=name)


DECIDE = """
import sys
sys.modules["keras_hyperens"] = None
import numpy as np
import tensorflow as tf
x_file, p_file, path = sys.argv[1:]
answers = tf.saved_model.load(path).signatures["decide"](inputs=tf.constant(np.load(x_file)))
np.save(p_file, np.concatenate([answers["set"].numpy(), answers["refused"].numpy()[:, None]], -1))
"""


@pytest.mark.integration
def test_an_export_decides_in_a_process_without_this_package(tmp_path):
    ensemble = hyper_batch()
    ensemble.conformalize(X, Y, 0.8, "aps", verbose=0)
    ensemble.abstain(X, answered=0.75, verbose=0)
    answers = decided(ensemble)
    ensemble.export(tmp_path / "served")
    found = predicted_by(DECIDE, X, tmp_path, "served")
    np.testing.assert_array_equal(found, np.column_stack([answers["set"], answers["refused"]]))


def with_decisions():
    ensemble = hyper_batch()
    ensemble.conformalize(X, Y, verbose=0)
    ensemble.abstain(threshold=0.5)
    return ensemble


CHANGES = {
    "fit": lambda ensemble: ensemble.fit(X[:32], Y[:32], tuning_split=0.5, verbose=0),
    "leave_out": lambda ensemble: ensemble.leave_out([1]),
    "calibrate": lambda ensemble: ensemble.calibrate(X, Y, verbose=0),
    "set_weights": lambda ensemble: ensemble.set_weights([2 * each for each in ensemble.get_weights()]),
    "load_weights": lambda ensemble: load_weights_of_another(ensemble),
    "compile": lambda ensemble: ensemble.compile("sgd", "mse"),  # logits are values now
}


def load_weights_of_another(ensemble):
    with tempfile.TemporaryDirectory() as directory:
        hyper_batch().save_weights(f"{directory}/other.weights.h5")
        ensemble.load_weights(f"{directory}/other.weights.h5")


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_other_predictions_forgets_them(change):
    ensemble = with_decisions()
    ensemble._temperatures = Temperatures("ensemble", (1.5,))
    CHANGES[change](ensemble)
    assert ensemble.conformal is None and ensemble.abstention is None
    assert ensemble.temperatures != Temperatures("ensemble", (1.5,))
    with pytest.raises(ValueError, match="Call `conformalize` or `abstain` on held-out data first"):
        ensemble.decide(X)


def test_the_same_loss_again_forgets_nothing():
    ensemble = with_decisions()
    before = ensemble.conformal, ensemble.abstention
    ensemble.compile("adam", LOGITS, run_eagerly=True)
    assert (ensemble.conformal, ensemble.abstention) == before


def test_a_refused_fit_forgets_nothing():
    ensemble = with_decisions()
    before = ensemble.conformal, ensemble.abstention
    with pytest.raises(ValueError, match=r"classes in \[0, 3\)"):
        ensemble.fit(X[:32], Y[:32] + 7, tuning_split=0.5, verbose=0)
    assert (ensemble.conformal, ensemble.abstention) == before


def test_a_refused_call_leaves_what_was_there():
    ensemble = deep()
    found = ensemble.conformalize(X, Y, verbose=0), ensemble.abstain(threshold=0.5)
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(60)
    for call, says in (
        (lambda: ensemble.conformalize(X, Y, method="interval", verbose=0), "one of .'threshold', 'aps', 'raps'."),
        (lambda: ensemble.conformalize(X, Y + 1, verbose=0), "labels from 1 to 3"),
        (lambda: ensemble.conformalize(X, verbose=0), "`x` must be .*Received: x of type ndarray"),
        (lambda: ensemble.conformalize(batches, sample_weight=np.ones(120)), "both in the batches .*sample_weight"),
        (lambda: ensemble.conformalize((X, Y), sample_weight=np.ones(120)), "both in the batches .*sample_weight"),
        (lambda: ensemble.conformalize(batches, Y), "both in the batches .*Received: x of type .*Dataset with y"),
        (lambda: ensemble.abstain(X, answered=0.5, measure="variance_of_all", verbose=0), "`measure` must be one of"),
        (lambda: ensemble.abstain(X, threshold=0.5), "`threshold` does not use samples"),
        (lambda: ensemble.abstain(answered=0.5), "pass `x`. Received: x=None"),
        (lambda: ensemble.abstain(np.full((3, 4), np.nan), answered=0.5, verbose=0), "finite max_probability"),
    ):
        with pytest.raises((ValueError, TypeError), match=says):
            call()
        assert (ensemble.conformal, ensemble.abstention) == found
    regression = deep(1, "mse")
    with pytest.raises(ValueError, match="`per_class` requires classes"):
        regression.conformalize(X, TARGETS, per_class=True, verbose=0)
    with pytest.raises(ValueError, match="Quantiles of at least two levels are required for every label"):
        deep(3, khe.losses.Quantile((0.1, 0.5, 0.9))).conformalize(X, np.zeros((120, 3)), verbose=0)


@pytest.mark.integration
def test_under_jit_compile(tmp_path):
    """In Python, and as a signature inside a function that XLA compiles; sets by order, which needs sorting."""
    ensemble = deep()
    ensemble.conformalize(X, Y, 0.8, "raps", verbose=0)
    ensemble.abstain(X, answered=0.75, measure="margin", verbose=0)
    expected = decided(ensemble)
    ensemble.compile(loss=LOGITS, jit_compile=True)
    assert ensemble.jit_compile and not ensemble.run_eagerly
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")  # a signature alone does not keep its variables
    compiled_by_xla = tf.function(lambda x: served.signatures["decide"](inputs=x), jit_compile=True)
    for answers in (decided(ensemble), compiled_by_xla(tf.constant(X))):
        assert set(answers) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(answers[name], values, atol=1e-6)
