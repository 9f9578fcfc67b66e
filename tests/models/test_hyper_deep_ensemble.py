from types import MappingProxyType

import keras
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.calibration.member_weights import PRIOR_ROWS
from tests.models.eagerly import eagerly_first
from tests.serving import predicted_elsewhere

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % 3


def network(units=5, activation=None, loss=LOGITS, outputs=3):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(outputs, activation)], name="theirs"
    )
    model.compile("sgd", loss)
    return model


def mixed_members():
    """Of different architectures, one of which puts out probabilities."""
    probabilities = network(7, "softmax", "sparse_categorical_crossentropy")
    deeper = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, "tanh"), network(3)])
    deeper.compile("sgd", LOGITS)
    return [network(), probabilities, deeper]


def softmax(raw):
    return np.asarray(keras.ops.softmax(raw))


def expected_members(members):
    raw = [np.asarray(member(X)) for member in members]
    return np.stack([softmax(raw[0]), raw[1], softmax(raw[2])])


@eagerly_first
def test_prediction_is_the_weighted_mean_of_the_members_probabilities():
    members = mixed_members()
    each = expected_members(members)
    ensemble = khe.HyperDeepEnsemble(members, member_weights=[3, 1, 2])
    np.testing.assert_allclose(ensemble.predict_members(X, verbose=0), each, atol=1e-6)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), np.average(each, 0, [3, 1, 2]), atol=1e-6)


def test_copies_are_numbered_and_models_of_the_caller_keep_their_names():
    members = mixed_members()
    names = [member.name for member in members]
    ensemble = khe.HyperDeepEnsemble(members)
    assert [member.name for member in ensemble.members] == names
    copy = khe.HyperDeepEnsemble.from_config(ensemble.get_config())
    assert [member.name for member in copy.members] == ["member_0", "member_1", "member_2"]
    assert [member.name for member in members] == names


@eagerly_first
@pytest.mark.parametrize("combination", ["trimmed_mean", "median"])
def test_other_combinations_are_probabilities(combination):
    members = mixed_members()
    ensemble = khe.HyperDeepEnsemble(members, combination=combination)
    each = expected_members(members)
    combined = ensemble.predict(X, verbose=0)
    np.testing.assert_allclose(combined.sum(-1), 1, rtol=1e-5)
    medians = np.median(each, 0)
    if combination == "median":
        expected = medians / medians.sum(-1, keepdims=True)
    else:
        farthest = ((each - medians) ** 2).sum(-1).argmax(0)
        expected = np.stack([np.delete(each[:, b], farthest[b], 0).mean(0) for b in range(len(X))])
    np.testing.assert_allclose(combined, expected, atol=1e-6)


@eagerly_first
def test_a_member_without_weight_is_neither_run_nor_stored(tmp_path):
    members = mixed_members()
    ensemble = khe.HyperDeepEnsemble(members, member_weights=[0, 1, 1])
    assert ensemble.ensemble_size == 2 and len(ensemble.weights) == len(members[1].weights) + len(members[2].weights)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), expected_members(members)[1:].mean(0), atol=1e-6)


@eagerly_first
def test_evaluate_is_the_loss_of_the_combined_prediction_without_penalties():
    members = [network(), network()]
    members[0].layers[0].kernel_regularizer = keras.regularizers.L2(1.0)
    ensemble = khe.HyperDeepEnsemble(members)
    p = ensemble.predict(X, verbose=0)
    nll = -np.log(p[np.arange(12), Y]).mean()
    for loss in (LOGITS, "sparse_categorical_crossentropy"):
        ensemble.compile(loss=loss, metrics=["accuracy"])
        scores = ensemble.evaluate(X, Y, verbose=0, return_dict=True)
        np.testing.assert_allclose([scores["loss"], scores["accuracy"]], [nll, (p.argmax(-1) == Y).mean()], rtol=1e-5)


@keras.saving.register_keras_serializable("tests")
def focal(y, logits):
    p = keras.ops.take_along_axis(keras.ops.softmax(logits), keras.ops.cast(keras.ops.reshape(y, (-1, 1)), "int32"), 1)
    return -keras.ops.squeeze((1 - p) ** 2 * keras.ops.log(p), 1)


@eagerly_first
def test_evaluate_by_a_loss_of_ones_own():
    members = [network(loss=focal), network(loss=focal)]
    ensemble = khe.HyperDeepEnsemble(members, output_activation="softmax")
    ensemble.compile(loss=focal)
    p = np.mean([softmax(member(X)) for member in members], 0)[np.arange(12), Y]
    np.testing.assert_allclose(ensemble.evaluate(X, Y, verbose=0), np.mean(-((1 - p) ** 2) * np.log(p)), rtol=1e-5)
    unknown = khe.HyperDeepEnsemble(members)  # means of logits, for all that it knows
    unknown.compile(loss=focal)
    with pytest.raises(ValueError, match="output_activation"):
        unknown.evaluate(X, Y, verbose=0)


@eagerly_first
@pytest.mark.parametrize("labels", [np.eye(3)[Y], Y[:, None] % 2])
def test_evaluate_of_yes_or_no_questions(labels):
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    members = [network(loss=loss, outputs=labels.shape[1]) for _ in range(2)]
    ensemble = khe.HyperDeepEnsemble(members)
    ensemble.compile(loss=loss)
    p = np.mean([1 / (1 + np.exp(-np.asarray(member(X)))) for member in members], 0)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), p, atol=1e-6)
    expected = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    np.testing.assert_allclose(ensemble.evaluate(X, labels, verbose=0), expected, rtol=1e-5)


@eagerly_first
def test_regression_combines_values():
    members = [network(loss="mse", outputs=1) for _ in range(3)]
    ensemble = khe.HyperDeepEnsemble(members, combination="median")
    expected = np.median([np.asarray(member(X)) for member in members], 0)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), expected, atol=1e-6)


def two_in_two_out(units, sizes=1, losses=MappingProxyType({"kind": LOGITS, "size": "mse"})):
    left, right = keras.Input((4,), name="left"), keras.Input((2,), name="right")
    hidden = keras.layers.Dense(units, "relu")(keras.layers.Concatenate()([left, right]))
    outputs = {
        "kind": keras.layers.Dense(3, name="kind")(hidden),
        "size": keras.layers.Dense(sizes, name="size")(hidden),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    model.compile("sgd", dict(losses))
    return model


@pytest.mark.integration
def test_several_inputs_and_outputs(tmp_path):
    members = [two_in_two_out(units) for units in (3, 6)]
    inputs = {"left": X, "right": X[:, :2]}
    ensemble = khe.HyperDeepEnsemble(members, member_weights=[1, 3])
    raw = [{name: np.asarray(out) for name, out in member(inputs).items()} for member in members]
    expected = {
        "kind": np.average([softmax(each["kind"]) for each in raw], 0, [1, 3]),
        "size": np.average([each["size"] for each in raw], 0, [1, 3]),
    }
    predicted = ensemble.predict(inputs, verbose=0)
    for name in expected:
        np.testing.assert_allclose(predicted[name], expected[name], atol=1e-6)
    ensemble.compile(loss={"kind": LOGITS, "size": "mse"}, metrics={"kind": ["accuracy"]})
    scores = ensemble.evaluate(inputs, {"kind": Y, "size": X[:, :1]}, verbose=0, return_dict=True)
    nll = -np.log(expected["kind"][np.arange(12), Y]).mean()
    np.testing.assert_allclose(scores["loss"], nll + ((expected["size"] - X[:, :1]) ** 2).mean(), rtol=1e-5)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    np.testing.assert_allclose(loaded.predict(inputs, verbose=0)["kind"], expected["kind"], atol=1e-6)
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures["uncertainty"]
    outputs = served(left=tf.constant(X), right=tf.constant(X[:, :2]))
    np.testing.assert_allclose(outputs["kind_prediction"], expected["kind"], atol=1e-5)
    deviations = np.stack([each["size"] for each in raw]) - expected["size"]
    np.testing.assert_allclose(outputs["size_variance"], np.average(deviations**2, 0, [1, 3]), atol=1e-5)


def best_weights(densities, row_weights):
    """Of a mixture, found by SciPy: densities `[K, N]`."""

    def loss(logits):
        return -np.average(np.log(scipy.special.softmax(logits) @ densities), weights=row_weights)

    found = scipy.optimize.minimize(loss, np.zeros(len(densities)), method="Nelder-Mead", options={"xatol": 1e-6})
    return scipy.special.softmax(found.x)


def test_members_are_weighted_anew_on_other_rows():
    ensemble = khe.HyperDeepEnsemble(mixed_members(), member_weights=[3, 1, 2])
    ensemble.compile(loss=LOGITS, run_eagerly=True)
    x, y = np.tile(X, (5, 1)), np.tile(Y, 5)
    each = ensemble.predict_members(x, verbose=0)
    counts = np.random.default_rng(0).integers(0, 4, 60)
    ensemble.calibrate(x, y, verbose=0)
    best = best_weights(each[:, np.arange(60), y], counts)
    found = ensemble.reweight(x, y, sample_weight=counts, verbose=0)
    expected = (counts.sum() * best + PRIOR_ROWS * np.array([3, 1, 2]) / 6) / (counts.sum() + PRIOR_ROWS)
    np.testing.assert_allclose(found, expected, atol=1e-2)
    assert found == ensemble.member_weights and ensemble.temperatures is None
    np.testing.assert_allclose(ensemble.predict(x, verbose=0), np.average(each, 0, found), atol=1e-6)
    assert khe.HyperDeepEnsemble.from_config(ensemble.get_config()).member_weights == pytest.approx(found)
    unread = np.where(counts > 0, y, 99)
    batches = tf.data.Dataset.from_tensor_slices((x, unread, counts)).batch(7)
    free = ensemble.reweight(batches, prior_rows=0, verbose=0)
    np.testing.assert_allclose(free, best, atol=2e-2)
    assert ensemble.reweight(x, y, prior_rows=1e12, verbose=0) == pytest.approx(free)
    for given, message in (({"y": y + 1}, "in \\[0, 3\\)"), ({"prior_rows": -1}, "prior_rows=-1")):
        with pytest.raises(ValueError, match=message):
            ensemble.reweight(x, **{"y": y, "verbose": 0, **given})
    assert ensemble.member_weights == pytest.approx(free)


def test_weights_of_several_outputs_and_of_gaussians_are_the_most_likely():
    inputs = {"left": X, "right": X[:, :2]}
    labels = {"kind": Y, "size": X[:, :2] > 0}
    yes_or_no = {"kind": LOGITS, "size": keras.losses.BinaryCrossentropy(from_logits=True)}
    ensemble = khe.HyperDeepEnsemble([two_in_two_out(units, 2, yes_or_no) for units in (3, 6)])
    ensemble.run_eagerly = True
    each = ensemble.predict_members(inputs, verbose=0)
    yes = np.where(labels["size"], each["size"], 1 - each["size"]).reshape(2, -1)
    densities = np.concatenate([each["kind"][:, np.arange(12), Y], yes], -1)
    found = ensemble.reweight(inputs, labels, prior_rows=0, verbose=0)
    np.testing.assert_allclose(found, best_weights(densities, np.ones(36)), atol=1e-2)
    gaussians = khe.HyperDeepEnsemble(
        [network(units, loss=khe.losses.GaussianNegativeLogLikelihood(), outputs=2) for units in (3, 6)]
    )
    gaussians.run_eagerly = True
    means, variances = np.split(gaussians.predict_members(X, verbose=0), 2, axis=-1)
    densities = scipy.stats.norm.pdf(X[:, :1], means, np.sqrt(variances))[..., 0]
    found = gaussians.reweight(X, X[:, :1], prior_rows=0, verbose=0)
    np.testing.assert_allclose(found, best_weights(densities, np.ones(12)), atol=1e-2)
    values = khe.HyperDeepEnsemble([network(units, loss="mse") for units in (3, 6)])
    values.run_eagerly = True
    with pytest.raises(ValueError, match="requires probabilities or Gaussians. Received: an output of"):
        values.reweight(X, X[:, :3], verbose=0)


@pytest.mark.parametrize("per", ["ensemble", "member"])
def test_calibration_counts_weights_as_repeated_rows(per):
    counts = np.random.default_rng(0).integers(0, 4, 12)
    inputs = {"left": X, "right": X[:, :2]}
    labels = {"kind": Y, "size": X[:, :2] > 0}
    yes_or_no = {"kind": LOGITS, "size": keras.losses.BinaryCrossentropy(from_logits=True)}
    ensemble = khe.HyperDeepEnsemble([two_in_two_out(units, 2, yes_or_no) for units in (3, 6)])
    ensemble.run_eagerly = True

    def repeated(part):
        return keras.tree.map_structure(lambda rows: np.repeat(rows, counts, 0), part)

    expected = np.ravel(ensemble.calibrate(repeated(inputs), repeated(labels), per, verbose=0).values)
    found = ensemble.calibrate(inputs, labels, per, sample_weight=counts, verbose=0)
    np.testing.assert_allclose(np.ravel(found.values), expected, rtol=1e-4)
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels, {"kind": counts, "size": counts})).batch(5)
    np.testing.assert_allclose(np.ravel(ensemble.calibrate(batches, per=per, verbose=0).values), expected, rtol=1e-4)
    with pytest.raises(ValueError, match="`sample_weight` must be finite"):
        ensemble.calibrate(inputs, labels, per, sample_weight=-counts, verbose=0)


@eagerly_first
@pytest.mark.parametrize(
    "combination",
    [("trimmed_mean", 2), *(pytest.param(name, marks=pytest.mark.integration) for name in ("mean", "median"))],
)
def test_file_and_export(combination, tmp_path):
    ensemble = khe.HyperDeepEnsemble(mixed_members(), member_weights=[1, 2, 3], combination=combination)
    ensemble.compile(loss=LOGITS, metrics=["accuracy"])
    predicted = ensemble.predict(X, verbose=0)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), predicted)
    assert loaded.evaluate(X, Y, verbose=0) == ensemble.evaluate(X, Y, verbose=0)
    uncompiled = keras.models.load_model(tmp_path / "e.keras", compile=False)
    np.testing.assert_array_equal(uncompiled.predict(X, verbose=0), predicted)
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures
    assert set(served) == {"serving_default", "uncertainty"}
    for rows in (1, 12):
        np.testing.assert_allclose(
            served["serving_default"](inputs=tf.constant(X[:rows]))["prediction"], predicted[:rows], atol=1e-5
        )
    outputs = served["uncertainty"](inputs=tf.constant(X))
    members = ensemble.predict_members(X, verbose=0)
    np.testing.assert_allclose(np.swapaxes(outputs["members"], 0, 1), members, atol=1e-5)
    final = None if combination == "mean" else predicted
    information = khe.uncertainty.mutual_information(members, [1, 2, 3], final)
    np.testing.assert_allclose(outputs["mutual_information"], information, atol=1e-4)


@pytest.mark.integration
def test_export_loads_in_a_process_without_this_package(tmp_path):
    ensemble = khe.HyperDeepEnsemble(mixed_members())
    np.testing.assert_allclose(predicted_elsewhere(ensemble, X, tmp_path), ensemble.predict(X, verbose=0), atol=1e-5)


@eagerly_first
def test_members_that_see_their_input_late_and_mixed_precision(mixed_float16):
    def late():
        model = keras.Sequential([keras.layers.Dense(5, "relu"), keras.layers.Dense(3)])
        model.compile("sgd", LOGITS)
        return model

    ensemble = khe.HyperDeepEnsemble([late(), late()])
    predicted = ensemble.predict(X, verbose=0)
    assert predicted.dtype == "float32"
    np.testing.assert_allclose(predicted.sum(-1), 1, atol=1e-6)


@pytest.mark.integration
def test_under_jit_compile():
    ensemble = khe.HyperDeepEnsemble(mixed_members(), combination="trimmed_mean")
    expected = ensemble.predict(X, verbose=0)
    ensemble.compile(loss=LOGITS, jit_compile=True)
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), ValueError, "At least one member"),
        ((["model"],), TypeError, "must be Keras models"),
        (([1, 2], [1.0]), ValueError, "2 non-negative numbers"),
        (([1, 2], [1.0, -1.0]), ValueError, r"Received: \[1.0, -1.0\]"),
        (([1, 2], [0.0, 0.0]), ValueError, "not all 0"),
        (([1, 2], [1.0, np.nan]), ValueError, "non-negative numbers"),
    ],
)
def test_bad_members_and_weights(arguments, error, message):
    members, weights = arguments if len(arguments) == 2 else (arguments[0], None)
    members = [network() if isinstance(each, int) else each for each in members]
    with pytest.raises(error, match=message):
        khe.HyperDeepEnsemble(members, member_weights=weights)


def test_other_mistakes_are_named(tmp_path):
    member = network()
    with pytest.raises(ValueError, match="the same model twice"):
        khe.HyperDeepEnsemble([member, member])
    with pytest.raises(ValueError, match="combination='mode'"):
        khe.HyperDeepEnsemble([member], combination="mode")
    with pytest.raises(ValueError, match="`output_activation` must be"):
        khe.HyperDeepEnsemble([member], output_activation="relu")
    ensemble = khe.HyperDeepEnsemble([member])
    with pytest.raises(ValueError, match="Metrics receive probabilities"):
        ensemble.compile(loss=LOGITS, metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True)])
    with pytest.raises(ValueError, match="trained separately"):
        ensemble.fit(X, Y)
    config = {**ensemble.get_config(), "format_version": 0}
    with pytest.raises(ValueError, match="format_version=0"):
        khe.HyperDeepEnsemble.from_config(config)
