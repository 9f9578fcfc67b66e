"""The ensemble as a Keras model: prediction, members, networks of every kind."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.models.eagerly import eagerly_first
from tests.models.networks import LOGITS
from tests.models.networks import M
from tests.models.networks import Subclassed
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import conv_network
from tests.models.networks import dense_network
from tests.models.networks import images
from tests.models.networks import members
from tests.models.networks import space


def softmax(logits):
    return np.asarray(keras.ops.softmax(logits))


@eagerly_first
def test_predictions_are_those_of_the_members_taken_out():
    ensemble, (x, y) = compiled(conv_network()), images()
    ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    each = np.stack([softmax(ensemble.member(k).predict(x, verbose=0)) for k in range(M)])
    np.testing.assert_allclose(ensemble.predict_members(x, verbose=0), each, atol=1e-5)
    np.testing.assert_allclose(ensemble.predict(x, verbose=0), each.mean(0), atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 1e-3


@eagerly_first
def test_a_member_has_no_hyper_batch_layer_and_weights_of_its_own():
    ensemble, (x, y) = compiled(), blobs()
    ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    member = ensemble.member(1)
    kinds = [type(layer) for layer in member.layers]
    assert kinds == [keras.layers.Dense, keras.layers.Dropout, keras.layers.Dense, keras.layers.Dense]
    values = ensemble.hyperparameter_values()
    assert member.layers[1].rate == pytest.approx(values["rate"][1])
    assert member.layers[0].kernel_regularizer.l2 == pytest.approx(values["l2"][1])
    before = ensemble.predict(x, verbose=0)
    member.compile("sgd", LOGITS)
    member.fit(x, y, verbose=0)
    np.testing.assert_array_equal(ensemble.predict(x, verbose=0), before)


def functional(outputs="one"):
    image, number = keras.Input((6, 6, 1), name="image"), keras.Input((4,), name="number")
    branch = keras.Sequential([khe.HyperBatchConv2D(3, 3, kernel_l2="l2", **members()), keras.layers.Flatten()])
    shared = khe.HyperBatchDense(5, activation="relu", **members())
    joined = keras.layers.Concatenate()([branch(image), shared(shared(keras.layers.Dense(4)(number))[:, :4])])
    joined = khe.HyperDropout("rate", **members())(joined)
    label = khe.HyperBatchDense(3, name="label", **members())(joined)
    size = khe.HyperBatchDense(1, name="size", **members())(joined)
    structures = {"one": label, "list": [label, size], "dict": {"label": label, "size": size}}
    return keras.Model({"image": image, "number": number}, structures[outputs])


@eagerly_first
def test_functional_networks_nested_with_branches_and_shared_layers():
    ensemble = compiled(functional())
    (image, y), (number, _) = images(), blobs()
    x = {"image": image, "number": number}
    ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    each = np.stack([softmax(ensemble.member(k).predict(x, verbose=0)) for k in range(M)])
    np.testing.assert_allclose(ensemble.predict(x, verbose=0), each.mean(0), atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("outputs", ["list", "dict"])
def test_several_outputs(outputs, tmp_path):
    ensemble = khe.HyperBatchEnsemble(functional(outputs), seed=0)
    ensemble.compile(
        "adam",
        loss={"label": LOGITS, "size": "mse"},
        loss_weights={"label": 1.0, "size": 0.1},
        metrics={"label": ["accuracy"], "size": ["mae"]},
        member_metrics={"label": [keras.metrics.SparseCategoricalAccuracy(name="member_accuracy")]},
        member_rows="same",
        tune_temperature=False,
        run_eagerly=outputs == "list",
    )
    (image, y), (number, _) = images(48), blobs(48)
    x, size = {"image": image, "number": number}, number.sum(1, keepdims=True)
    targets = {"label": y, "size": size} if outputs == "dict" else [y, size]
    history = ensemble.fit(x, targets, tuning_split=0.25, epochs=2, verbose=0).history
    assert {"label_accuracy", "size_mae", "member_accuracy", "label_loss", "tuning_loss"} <= set(history)
    prediction = ensemble.predict(x, verbose=0)
    label, sizes = (prediction["label"], prediction["size"]) if outputs == "dict" else prediction
    np.testing.assert_allclose(label.sum(-1), 1, rtol=1e-5)  # probabilities; sizes stay as they are
    each = [ensemble.member(k).predict(x, verbose=0) for k in range(M)]
    each = [(one["label"], one["size"]) if outputs == "dict" else one for one in each]
    np.testing.assert_allclose(label, np.mean([softmax(one[0]) for one in each], 0), atol=1e-5)
    np.testing.assert_allclose(sizes, np.mean([one[1] for one in each], 0), atol=1e-4)
    logs = ensemble.evaluate(x, targets, verbose=0, return_dict=True)
    nll = -np.log(label[np.arange(48), y]).mean()
    np.testing.assert_allclose(logs["loss"], nll + 0.1 * ((sizes - size) ** 2).mean(), rtol=1e-4)
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    outputs = served.signatures["uncertainty"](image=image, number=number)
    np.testing.assert_allclose(outputs["label_prediction"], label, atol=1e-5)
    np.testing.assert_allclose(outputs["size_variance"], np.var([one[1] for one in each], 0), atol=1e-4)


@eagerly_first
def test_a_subclassed_network_trains_and_says_that_no_member_can_be_taken_out(tmp_path):
    ensemble, (x, y) = compiled(Subclassed()), blobs()
    ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    with pytest.raises(ValueError, match="Sequential and Functional.*of type Subclassed"):
        ensemble.member(0)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), ensemble.predict(x, verbose=0))


def test_regression_combines_values():
    optimizer = keras.optimizers.Adam(0.02)
    ensemble = compiled(dense_network(1), optimizer=optimizer, loss="mse", metrics=["mae"], run_eagerly=True)
    x, y = blobs()
    history = ensemble.fit(x, y.astype("float32"), tuning_split=0.25, epochs=3, verbose=0).history
    each = ensemble.predict_members(x, verbose=0)
    np.testing.assert_allclose(ensemble.predict(x, verbose=0), each.mean(0), atol=1e-5)
    assert history["loss"][-1] < history["loss"][0] and each.min() < 0


@eagerly_first
@pytest.mark.parametrize(
    ("loss", "one_hot", "activation"),
    [
        (LOGITS, False, "softmax"),
        (keras.losses.CategoricalCrossentropy(from_logits=True), True, "softmax"),
        (keras.losses.BinaryCrossentropy(from_logits=True), True, "sigmoid"),
        ("categorical_crossentropy", True, None),
        ("sparse_categorical_crossentropy", False, None),
    ],
)
def test_labels_and_outputs_of_every_kind(loss, one_hot, activation):
    network = dense_network()
    if activation is None:
        network.add(keras.layers.Softmax())
    ensemble, (x, y) = compiled(network, loss=loss, metrics=["accuracy"]), blobs()
    targets = np.eye(3)[y] if one_hot else y
    ensemble.fit(x, targets, tuning_split=0.25, verbose=0)
    assert ensemble.likelihoods.name == (activation or "categorical")
    prediction = ensemble.predict(x, verbose=0)
    assert prediction.min() >= 0 and prediction.max() <= 1
    logs = ensemble.evaluate(x, targets, verbose=0, return_dict=True)
    if activation == "sigmoid":
        nll = -(targets * np.log(prediction) + (1 - targets) * np.log(1 - prediction)).mean()
    else:
        nll = -np.log(prediction[np.arange(len(y)), y]).mean()
    np.testing.assert_allclose(logs["loss"], nll, rtol=1e-4)  # of the combined prediction, without penalties


@eagerly_first
def test_a_model_never_compiled_gives_raw_outputs_and_one_loaded_uncompiled_remembers():
    ensemble = khe.HyperBatchEnsemble(dense_network(), seed=0)
    x, _ = blobs()
    raw = ensemble.predict(x, verbose=0)
    assert raw.min() < 0
    ensemble.compile("adam", LOGITS)
    probabilities = ensemble.predict(x, verbose=0)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    loaded = type(ensemble).from_config(ensemble.get_config())
    loaded.set_weights(ensemble.get_weights())
    np.testing.assert_allclose(loaded.predict(x, verbose=0), probabilities, rtol=1e-5)


@eagerly_first
def test_output_activation_can_be_set_by_hand():
    ensemble = khe.HyperBatchEnsemble(dense_network(), **members(), output_activation="softmax")
    np.testing.assert_allclose(ensemble.predict(blobs()[0], verbose=0).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "run_eagerly"),
    [(1, True), (5, True), (9, True), pytest.param(33, False, marks=pytest.mark.integration)],
    indirect=["run_eagerly"],
)
def test_any_number_of_rows(rows):
    ensemble, (x, y) = compiled(), blobs()
    ensemble.fit(
        x[:rows], y[:rows], batch_size=4, tuning_data=(x, y), verbose=0
    )  # 5, 9 and 33 end on a part of a batch
    assert ensemble.predict(x[:rows], batch_size=8, verbose=0).shape == (rows, 3)
    assert ensemble.predict_members(x[:rows], batch_size=4, verbose=0).shape == (M, rows, 3)


def test_predict_and_predict_members_in_turn():
    ensemble, (x, _) = compiled(), blobs()
    combined, each = [], []
    for _ in range(2):
        combined.append(ensemble.predict(x, verbose=0))
        each.append(ensemble.predict_members(x, verbose=0))
    np.testing.assert_allclose(combined[0], each[1].mean(0), atol=1e-6)
    np.testing.assert_array_equal(combined[0], combined[1])


@eagerly_first
def test_inside_another_functional_model():
    ensemble, (x, _) = compiled(), blobs()
    inputs = keras.Input((4,))
    outer = keras.Model(inputs, keras.layers.Rescaling(2.0)(ensemble(inputs)))
    np.testing.assert_allclose(outer.predict(x, verbose=0), 2 * ensemble.predict(x, verbose=0), rtol=1e-5)


def test_values_lie_between_bounds_and_members_differ():
    ensemble = compiled()
    for name, values in ensemble.hyperparameter_values().items():
        bounds = ensemble.hyperparameter_bounds()[name]
        assert bounds.shape == (M, 2) and values.shape == (M,)
        assert (bounds[:, 0] < values).all() and (values < bounds[:, 1]).all()
        assert len(np.unique(values)) == M
        assert (bounds >= space()[name].min_value * 0.999).all() and (bounds <= space()[name].max_value * 1.001).all()


@eagerly_first
def test_no_hyperparameters_is_a_batch_ensemble():
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, ensemble_size=M, kernel_l2=1e-3)])
    ensemble = khe.HyperBatchEnsemble(network)
    ensemble.compile("adam", LOGITS)
    x, y = blobs()
    history = ensemble.fit(x, y, verbose=0).history  # no warning: there is nothing to tune
    assert set(history) == {"loss"} and ensemble.hyperparameter_values() == {}
    assert {weight.name for weight in network.weights} == {"kernel", "bias", "r", "s"}


def test_space_and_size_are_those_of_the_layers():
    ensemble = khe.HyperBatchEnsemble(dense_network())
    assert ensemble.space == space() and ensemble.ensemble_size == M
    layers = [khe.HyperBatchDense(2, ensemble_size=M), khe.HyperBatchDense(2, kernel_l2="l2", **members())]
    assert khe.HyperBatchEnsemble(keras.Sequential([keras.Input((4,)), *layers])).space == space()
    layers[0] = khe.HyperBatchDense(2, ensemble_size=M + 1)
    with pytest.raises(ValueError, match="ensemble_size=4.*Received: ensemble_size=3"):
        khe.HyperBatchEnsemble(keras.Sequential([keras.Input((4,)), *layers]))


def test_networks_without_or_with_foreign_layers_are_refused():
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="head")])
    with pytest.raises(ValueError, match=r"no hyper-batch layer.*HyperBatchDense.*\['head'\]"):
        khe.HyperBatchEnsemble(plain, **members())
    with pytest.raises(ValueError, match="ensemble_size=2.*Received: ensemble_size=3"):
        khe.HyperBatchEnsemble(dense_network(), space=space(), ensemble_size=2)
    other = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-5, 1, "log")])
    with pytest.raises(ValueError, match=r"`space`, with \[.*'l2', min_value=1e-05.*Received"):
        khe.HyperBatchEnsemble(dense_network(), space=other, ensemble_size=M)
    with pytest.raises(TypeError, match="`network` must be a `keras.Model`"):
        khe.HyperBatchEnsemble(keras.layers.Dense(2), **members())
    with pytest.raises(TypeError, match="HyperparameterSpace"):
        khe.HyperBatchEnsemble(dense_network(), space=["l2"], ensemble_size=M)
    with pytest.raises(ValueError, match="output_activation='tanh'"):
        khe.HyperBatchEnsemble(dense_network(), **members(), output_activation="tanh")
    with pytest.raises(ValueError, match="seed=-1"):
        khe.HyperBatchEnsemble(dense_network(), **members(), seed=-1)


def test_an_unused_hyperparameter_is_a_warning():
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, kernel_l2="l2", **members())])
    ensemble = khe.HyperBatchEnsemble(network)
    with pytest.warns(UserWarning, match=r"uses the hyperparameters \['rate'\]"):
        ensemble.compile("adam", LOGITS)


def test_unknown_members_are_refused():
    with pytest.raises(ValueError, match=r"\[0, 3\). Received: member=3"):
        compiled().member(3)
