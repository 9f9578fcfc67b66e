"""Losses that vary with a member's hyperparameters: their values by hand, and what a member is trained on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.hyperparameters.scope import member_scope
from keras_hyperens.losses import HyperparameterLoss
from keras_hyperens.losses import LabelSmoothing
from keras_hyperens.losses import WeightedLoss
from keras_hyperens.models.training.draws import draw

M, B, C = 2, 5, 3
SMOOTHING = khe.Hyperparameter("smoothing", 0.05, 0.4, "linear")
LOGITS = np.random.default_rng(0).normal(size=(B, C)).astype("float32")
LABELS = np.arange(B) % C


def cross_entropy(targets, logits):
    logits = logits - logits.max(-1, keepdims=True)
    return -(targets * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1)


@pytest.mark.parametrize("values", [[0.2], [0.1, 0.2, 0.3, 0.05, 0.4]])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_categorical_labels_are_smoothed_in_the_training_of_a_member(values, factor):
    amounts = factor * np.broadcast_to(np.array(values), B)[:, None]
    one_hot = np.eye(C)[LABELS]
    expected = cross_entropy((1 - amounts) * one_hot + amounts / C, LOGITS).mean()
    for plain, labels in (
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), LABELS),
        (keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3), one_hot),
    ):
        loss = LabelSmoothing(plain, ("smoothing", factor))
        with member_scope({"smoothing": tf.constant(values, tf.float32)}):
            np.testing.assert_allclose(loss(labels, LOGITS), expected, rtol=1e-5)
        np.testing.assert_allclose(loss(labels, LOGITS), cross_entropy(one_hot, LOGITS).mean(), rtol=1e-5)


def test_one_value_is_what_keras_does_with_a_fixed_one():
    probabilities = np.random.default_rng(1).uniform(0.1, 0.9, (B, 2)).astype("float32")
    labels = np.random.default_rng(2).integers(0, 2, (B, 2))
    for kind, predicted in (
        (keras.losses.BinaryCrossentropy, probabilities),
        (keras.losses.CategoricalCrossentropy, LOGITS),
    ):
        from_logits = kind is keras.losses.CategoricalCrossentropy
        targets = np.eye(C)[LABELS] if from_logits else labels
        with member_scope({"smoothing": tf.constant([0.2])}):
            mine = LabelSmoothing(kind(from_logits=from_logits), "smoothing")(targets, predicted)
        np.testing.assert_allclose(
            mine, kind(from_logits=from_logits, label_smoothing=0.2)(targets, predicted), rtol=1e-5
        )


def test_ignored_classes_and_pixels():
    logits = np.random.default_rng(0).normal(size=(2, 4, 4, C)).astype("float32")
    labels = np.random.default_rng(1).integers(0, C, (2, 4, 4))
    loss = LabelSmoothing(keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1), "smoothing")
    with member_scope({"smoothing": tf.constant([0.1, 0.3])}):
        values = np.asarray(loss.call(labels, logits))
    assert values.shape == (2, 4, 4) and (values[labels == 1] == 0).all() and (values[labels != 1] > 0).all()


def test_weights_multiply_in_training_and_stay_fixed_elsewhere():
    loss = WeightedLoss("mse", ("weight", 2.0), evaluation_weight=0.5)
    y, predicted = np.zeros((2, 1)), np.array([[1.0], [2.0]])
    with member_scope({"weight": tf.constant([3.0, 5.0])}):
        assert float(loss(y, predicted)) == pytest.approx((6 * 1 + 10 * 4) / 2)
    assert float(loss(y, predicted)) == pytest.approx(0.5 * (1 + 4) / 2)


def network(space, outputs=None):
    members = {"ensemble_size": M, "space": space}
    inputs = keras.Input((4,))
    hidden = khe.HyperBatchDense(6, activation="relu", **members)(inputs)
    if outputs is None:
        return keras.Model(inputs, khe.HyperBatchDense(C, **members)(hidden))
    return keras.Model(inputs, {name: khe.HyperBatchDense(1, name=name, **members)(hidden) for name in outputs})


def data(rows=20):
    return np.random.default_rng(0).normal(size=(rows, 4)).astype("float32"), np.arange(rows) % C


@pytest.mark.parametrize("sampling", ["member", "example"])
def test_every_member_is_trained_with_its_own_smoothing(sampling):
    space = khe.HyperparameterSpace([SMOOTHING])
    ensemble = khe.HyperBatchEnsemble(network(space), space=space, ensemble_size=M, seed=0)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ensemble.compile("sgd", LabelSmoothing(plain, "smoothing"), sampling=sampling, run_eagerly=True)
    x, y = data()
    ensemble._trainer.build(tf.TensorSpec([None, 4]))
    values = draw(ensemble, ensemble.distribution.bounds(), len(x) if sampling == "example" else 1, 0)
    with khe.hyperparameter_scope(values):
        members = np.asarray(ensemble._member_outputs(x, training=True))
    amounts = np.broadcast_to(np.asarray(values)[..., 0], (M, len(x)))[..., None]
    expected = cross_entropy((1 - amounts) * np.eye(C)[y] + amounts / C, members).mean()
    logged = ensemble.train_on_batch(x, y, return_dict=True)["loss"]
    np.testing.assert_allclose(logged, expected, rtol=1e-4)
    nll = -np.log(ensemble.predict(x, verbose=0)[np.arange(len(x)), y]).mean()
    np.testing.assert_allclose(ensemble.evaluate(x, y, verbose=0), nll, rtol=1e-4)


eagerly_and_in_a_graph = pytest.mark.parametrize(
    "run_eagerly", [True, pytest.param(False, marks=pytest.mark.integration)], ids=["eagerly", "graph"]
)


@keras.saving.register_keras_serializable("tests")
def robust(y_true, y_pred, values):
    return keras.ops.minimum(keras.ops.abs(y_true - y_pred)[:, 0], values["threshold"])


@eagerly_and_in_a_graph
def test_a_function_of_the_users_and_its_way_through_a_file(tmp_path, run_eagerly):
    space = khe.HyperparameterSpace([khe.Hyperparameter("threshold", 0.5, 2.0, "log")])
    ensemble = khe.HyperBatchEnsemble(network(space, ["a"]), space=space, ensemble_size=M, seed=0)
    loss = HyperparameterLoss(robust, "mean_absolute_error", ["threshold"])
    ensemble.compile("adam", {"a": loss}, tuning_every=1, run_eagerly=run_eagerly)
    x, _ = data()
    y = {"a": x[:, :1] * 3}
    history = ensemble.fit(x, y, tuning_data=(x, y), epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] <= 2.0
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), ensemble.evaluate(x, y, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(
        loaded.train_on_batch(x, y, return_dict=True)["loss"],
        ensemble.train_on_batch(x, y, return_dict=True)["loss"],
        rtol=1e-4,
    )


@eagerly_and_in_a_graph
def test_loss_weights_by_name(tmp_path, run_eagerly):
    space = khe.HyperparameterSpace([khe.Hyperparameter("weight", 0.1, 10.0, "log")])
    ensemble = khe.HyperBatchEnsemble(network(space, ["a", "b"]), space=space, ensemble_size=M, seed=0)
    weights = {"a": 2.0, "b": ("weight", 3.0)}
    ensemble.compile("sgd", {"a": "mse", "b": "mse"}, loss_weights=weights, run_eagerly=run_eagerly)
    x, _ = data()
    y = {"a": x[:, :1], "b": x[:, 1:2]}
    ensemble.fit(x, y, tuning_data=(x, y), verbose=0)
    predicted = ensemble.predict(x, verbose=0)
    errors = {name: np.mean((predicted[name] - y[name]) ** 2) for name in y}
    expected = 2 * errors["a"] + 3 * 1.0 * errors["b"]  # in the middle of the range: 1
    np.testing.assert_allclose(ensemble.evaluate(x, y, verbose=0, return_dict=True)["loss"], expected, rtol=1e-4)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), ensemble.evaluate(x, y, verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": LabelSmoothing("categorical_crossentropy", "other")}, r"\['smoothing'\].*\['other'\]"),
        (
            {"loss": LabelSmoothing("categorical_crossentropy", "smoothing"), "member_loss": "ensemble"},
            "member_loss='ensemble'",
        ),
        ({"loss": ["mse"], "loss_weights": ["other"]}, r"\['smoothing'\].*'other'"),
        ({"loss": "mse", "loss_weights": ["smoothing"]}, "loss='mse'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(arguments, message):
    space = khe.HyperparameterSpace([SMOOTHING])
    ensemble = khe.HyperBatchEnsemble(network(space), space=space, ensemble_size=M)
    with pytest.raises(ValueError, match=message):
        ensemble.compile("sgd", **arguments)


def test_what_cannot_be_smoothed_is_named():
    with pytest.raises(ValueError, match="cross-entropy.*mean_squared"):
        LabelSmoothing("mean_squared_error", "smoothing")
    with pytest.raises(TypeError, match="function=3"):
        HyperparameterLoss(3, "mse")
