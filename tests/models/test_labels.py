"""Mistakes that `fit` names before the first step, and compiled objects that are registered nowhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.conversion.compiled import fresh_metrics
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Value
from keras_hyperens.models.data import rows_and_labels
from keras_hyperens.models.labels import check_classes
from keras_hyperens.models.labels import check_labels

X = np.random.default_rng(0).normal(size=(30, 2)).astype("float32")
Y = np.arange(30) % 3
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Own(keras.losses.Loss):
    def __init__(self, factor, name="own"):
        super().__init__(name=name)
        self.factor = factor

    def call(self, y_true, y_pred):
        y_true = keras.ops.one_hot(keras.ops.cast(y_true, "int32"), 3)
        return keras.ops.mean(self.factor * (y_true - y_pred) ** 2, -1)


class OwnMetric(keras.metrics.Mean):
    def __init__(self, factor, name="own_metric"):
        super().__init__(name=name)
        self.factor = factor

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(self.factor * keras.ops.max(y_pred, -1))


def own_function(y_true, y_pred):
    return keras.ops.min(y_pred, -1)


def own_loss(y_true, y_pred):
    return keras.ops.mean(y_pred, -1) * keras.ops.cast(keras.ops.max(y_true), "float32")


def network(loss=None, metrics=None, activation="softmax"):
    penalty = keras.regularizers.L2(1e-3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation, kernel_regularizer=penalty)])
    if loss is not None:
        model.compile("sgd", loss, metrics=metrics, run_eagerly=True)
    return model


def ensemble(loss=LOGITS, activation=None):
    made = khe.HyperBatchEnsemble.from_model(network(activation=activation), ensemble_size=2)
    if loss is not None:
        made.compile("sgd", loss, run_eagerly=True)
    return made


@pytest.mark.parametrize("tuning", [{}, {"tuning_data": (X, Y)}])
def test_fit_before_compile_says_so(tuning):
    with pytest.raises(ValueError, match="Call `compile` before `fit`"):
        ensemble(None).fit(X, Y, **tuning)


@pytest.mark.parametrize("off", [1, -1])
def test_labels_out_of_range_are_found_before_the_first_step(off):
    made = ensemble()
    for data in (dict(y=Y + off, tuning_data=(X, Y)), dict(y=Y, tuning_data=(X, Y + off))):
        name = "training" if (data["y"] != Y).any() else "tuning"
        with pytest.raises(ValueError, match=rf"Labels of {name} data must be classes in \[0, 3\)"):
            made.fit(X, verbose=0, **data)
    assert int(made.step) == 0


@pytest.mark.parametrize(
    ("labels", "loss", "likelihood"),
    [
        (Y, LOGITS, Categorical(from_logits=True)),
        (Y[:, None].astype("float32"), LOGITS, Categorical()),
        (
            np.where(Y == 0, -1, Y),
            keras.losses.SparseCategoricalCrossentropy(ignore_class=-1),
            Categorical(from_logits=True),
        ),
        (5 * np.eye(3)[Y], LOGITS, Categorical(from_logits=True)),  # not class indices
        (Y + 7, "mse", Value()),
        (Y[:, None, None] + 7, "ctc", Categorical(from_logits=True)),
    ],
)
def test_what_may_be_right_is_let_through(labels, loss, likelihood):
    check_classes(labels, loss, likelihood, (None, 3), "training data")


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (LOGITS, Y + 0.5, r"must be classes in \[0, 3\).*such as \[0.5, 1.5, 2.5\]"),
        (keras.losses.BinaryCrossentropy(), np.eye(3)[Y] * 2, r"in \[0, 1\] with a binary loss.*\[0.0, 2.0\]"),
        ("mse", Y[:, None], r"a value for each of 3 outputs. Received: shape=\(30, 1\)"),
        (own_loss, Y, "set `output_activation`"),
        (own_loss, np.eye(3)[Y], "set `output_activation`"),
    ],
)
def test_labels_that_a_loss_would_take_in_another_sense_are_refused(loss, labels, message):
    made = ensemble(loss)
    with pytest.raises(ValueError, match=message):
        made.fit(X, labels, verbose=0)
    assert int(made.step) == 0


def test_labels_whose_meaning_was_said_or_is_plain_are_let_through():
    answers, weights = np.eye(3)[Y] - 2 * (Y == 0)[:, None], (Y > 0).astype("float32")
    for loss, labels, weight, said in (
        (own_loss, Y, None, "softmax"),
        (own_loss, np.eye(3)[Y], None, None),
        (own_loss, np.eye(3)[Y] + 0.5, None, "auto"),
        (keras.losses.BinaryCrossentropy(from_logits=True), answers, weights, "auto"),
    ):
        check_labels(network(), loss, Value(), labels, "training data", said, all_count=weight is None)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_labels_by_name_are_those_of_their_outputs(names):
    inputs = keras.Input((2,))
    outputs = [khe.HyperBatchDense(2, ensemble_size=2, name=name)(inputs) for name in names]
    made = khe.HyperBatchEnsemble(keras.Model(inputs, outputs), seed=0)
    of_members = {name: [khe.metrics.GibbsLoss(name=f"gibbs_{name}")] for name in names}
    made.compile("sgd", dict.fromkeys(names, LOGITS), member_metrics=of_members, run_eagerly=True)
    by_name = {"a": (X[:, 0] > 0).astype("int32"), "b": (X[:, 1] > 0.5).astype("int32")}
    by_place = [by_name[name] for name in names]
    assert made.calibrate(X, by_name, verbose=0) == made.calibrate(X, by_place, verbose=0)
    assert made.calibrate(X, by_name, "member", verbose=0) == made.calibrate(X, by_place, "member", verbose=0)
    assert made.evaluate(X, by_name, verbose=0) == pytest.approx(made.evaluate(X, by_place, verbose=0))


def test_losses_and_metrics_need_not_be_registered():
    loss, metrics = Own(3.0), [OwnMetric(2.0), own_function]
    plain = network(loss, metrics)
    expected = plain.evaluate(X, Y, verbose=0, return_dict=True)
    converted = khe.HyperBatchEnsemble.from_model(plain, ensemble_size=2)
    assert converted.likelihoods == Categorical() and plain.compiled
    converted.fit(X, Y, epochs=1, verbose=0)
    deep = khe.HyperDeepEnsemble([plain])
    deep.compile(loss=loss, metrics=metrics)
    for model in (deep, deep.on_devices(["CPU:0"])):
        scores = model.evaluate(X, Y, verbose=0, return_dict=True)
        assert scores == pytest.approx({**expected, "loss": scores["loss"]}, rel=1e-5)
    data_loss = float(keras.ops.mean(loss(Y, plain.predict(X, verbose=0))))
    assert scores["loss"] == pytest.approx(data_loss, rel=1e-5)


def test_metrics_are_made_anew_and_of_probabilities():
    given = {"a": ["accuracy", keras.metrics.SparseCategoricalCrossentropy(from_logits=True)], "b": [OwnMetric(2.0)]}
    fresh = fresh_metrics(given)
    assert fresh["a"][0] == "accuracy" and not fresh["a"][1].get_config()["from_logits"]
    assert fresh["a"][1] is not given["a"][1] and given["a"][1].get_config()["from_logits"]
    assert fresh["b"][0] is given["b"][0]  # its configuration does not say how to make it, so the object itself is kept


def test_strings_of_a_dataset_stay_what_predict_takes():
    """`calibrate` and `conformalize` read a dataset once, and Keras takes strings as tensors alone."""
    inputs = {"kind": np.array([["a"], ["b"], ["c"]], object), "numbers": X[:3]}
    x, y, weights = rows_and_labels(tf.data.Dataset.from_tensor_slices((inputs, Y[:3])).batch(2), None)
    assert x["kind"].dtype == tf.string and x["kind"].numpy().tolist() == [[b"a"], [b"b"], [b"c"]]
    np.testing.assert_array_equal(x["numbers"], X[:3])
    np.testing.assert_array_equal(y, Y[:3])
    assert weights is None
