"""Ensembles as plain Keras models, and as parts of other models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.temperatures import Temperatures
from tests.models.networks import LOGITS
from tests.models.networks import Subclassed
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import deep
from tests.serving import predicted_by

X, Y = blobs(12)
LOAD = """
import importlib.util
import os
import sys
sys.modules["keras_hyperens"] = None  # an import of the package fails
if importlib.util.find_spec("torch"):
    os.environ["KERAS_BACKEND"], sys.modules["tensorflow"] = "torch", None
import keras
import numpy as np
x_file, p_file, path = sys.argv[1:]
outputs = keras.models.load_model(path).predict(np.load(x_file), verbose=0)
np.save(p_file, np.concatenate([outputs["prediction"], outputs["mutual_information"][:, None]], axis=-1))
"""


def hyper_batch():
    ensemble = compiled(run_eagerly=True)
    ensemble.temperature.logarithms.assign([0.3])
    return ensemble


def check(ensemble, x=X):
    """The model of an ensemble, which predicts what the ensemble does."""
    model = ensemble.to_functional()
    expected = ensemble.predict(x, verbose=0)
    for found, wanted in zip(keras.tree.flatten(model(x)), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    ours = [layer for layer in model._flatten_layers() if type(layer).__module__.startswith("keras_hyperens")]
    assert type(model).__name__ == "Functional" and not ours
    return model


@pytest.mark.parametrize("combination", ["mean", "median", "trimmed_mean"])
@pytest.mark.parametrize("make", [hyper_batch, deep])
@pytest.mark.parametrize("per", ["ensemble", "member"])
def test_predictions_are_those_of_the_ensemble(per, make, combination):
    ensemble = make()
    ensemble.combination = combination
    of_members = tuple(np.linspace(0.5, 2, ensemble.ensemble_size))
    ensemble._set_temperatures(Temperatures(per, (0.7,) if per == "ensemble" else (of_members,)))
    check(ensemble)


def test_members_left_out_stay_out():
    ensemble = hyper_batch()
    ensemble.leave_out([1])
    model = check(ensemble)
    assert [layer.name for layer in model.layers if isinstance(layer, keras.Model)] == ["member_0", "member_1"]


def test_members_are_copies():
    for ensemble in (hyper_batch(), deep()):
        model, before = ensemble.to_functional(), ensemble.predict(X, verbose=0)
        for weight in model.weights:
            weight.assign(keras.ops.zeros_like(weight))
        np.testing.assert_array_equal(ensemble.predict(X, verbose=0), before)


def test_measures():
    names = ["mutual_information", "disagreement", "energy", "predictive_entropy", "margin"]
    for ensemble in (hyper_batch(), deep()):
        outputs = ensemble.to_functional(names)(X)
        expected = ensemble.predict_uncertainty(X, names, verbose=0)
        assert set(outputs) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(outputs[name], values, rtol=1e-5, atol=1e-6)


def test_gaussians():
    ensemble = deep(4, loss=khe.losses.GaussianNegativeLogLikelihood())
    ensemble._set_temperatures(Temperatures("ensemble", (1.7,)))
    check(ensemble)


def test_several_inputs_and_outputs():
    first, second = keras.Input((4,), name="first"), keras.Input((2,), name="second")
    hidden = keras.layers.Concatenate()([first, second])
    outputs = {
        "label": khe.HyperBatchDense(3, ensemble_size=3)(hidden),
        "size": khe.HyperBatchDense(1, ensemble_size=3)(hidden),
    }
    ensemble = khe.HyperBatchEnsemble(keras.Model([first, second], outputs), seed=0)
    ensemble.compile("sgd", {"label": LOGITS, "size": "mse"}, run_eagerly=True)
    model = check(ensemble, [X, X[:, :2]])
    assert set(model.output) == {"label", "size"} and [each.name for each in model.inputs] == ["first", "second"]


def test_masks():
    words = keras.Input((5,), dtype="int32")
    embedded = keras.layers.Embedding(9, 4, mask_zero=True)(words)
    outputs = khe.HyperBatchDense(3, ensemble_size=3)(keras.layers.Dense(4, "relu")(embedded))
    ensemble = khe.HyperBatchEnsemble(keras.Model(words, outputs), seed=0)
    ensemble.compile("sgd", LOGITS, run_eagerly=True)
    check(ensemble, np.random.default_rng(0).integers(0, 3, (6, 5), "int32"))


def test_a_network_without_a_graph_is_refused():
    ensemble = compiled(Subclassed(), run_eagerly=True)
    ensemble._trainer.build(tf.TensorSpec([None, 4]))
    ensemble.predict(X, verbose=0)
    with pytest.raises(ValueError, match="A single member can be taken out of Sequential and Functional networks"):
        ensemble.to_functional()


@pytest.mark.integration
def test_a_file_loads_without_the_package_and_on_another_backend_if_there_is_one(tmp_path):
    ensemble = hyper_batch()
    ensemble.to_functional(["mutual_information"]).save(tmp_path / "plain.keras")
    expected = ensemble.predict_uncertainty(X, ["mutual_information"], verbose=0)
    found = predicted_by(LOAD, X, tmp_path, "plain.keras")
    np.testing.assert_allclose(found[:, :-1], expected["prediction"], atol=1e-6)
    np.testing.assert_allclose(found[:, -1], expected["mutual_information"], atol=1e-6)


@pytest.mark.integration
@pytest.mark.parametrize("make", [hyper_batch, deep])
def test_an_ensemble_inside_another_model_exports(make, tmp_path):
    """Keras traces every model inside the exported one by itself: one of hyper-batch layers needs its ensemble."""
    ensemble = make()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Rescaling(0.5), ensemble])
    expected = ensemble.predict(X / 2, verbose=0)
    np.testing.assert_allclose(model(X), expected, atol=1e-6)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(X), expected, atol=1e-6)
    model.save(tmp_path / "outer.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "outer.keras")(X), expected, atol=1e-6)
