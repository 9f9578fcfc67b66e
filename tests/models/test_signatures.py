"""What an export takes: what the network declares, whatever was called before."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.export import input_specs
from tests.models.networks import LOGITS
from tests.models.networks import Subclassed
from tests.models.networks import members


def two_inputs(structure):
    """A network of an image and of a number of its own."""
    image, number = keras.Input((4,), name="image"), keras.Input((1,), name="number", dtype="int32")
    hidden = keras.layers.Concatenate()([image, keras.layers.Rescaling(0.1)(number)])
    outputs = khe.HyperBatchDense(3, ensemble_size=2)(hidden)
    return keras.Model(structure(image, number), outputs)


def ensemble_of(network, **arguments):
    ensemble = khe.HyperBatchEnsemble(network, **(arguments or {"ensemble_size": 2}))
    ensemble.compile("sgd", LOGITS, run_eagerly=True)
    return ensemble


def described(specs):
    return [(spec.name, spec.shape.as_list(), spec.dtype.name) for spec in keras.tree.flatten(specs)]


IMAGES, NUMBERS = np.ones((3, 4), "float32"), np.ones((3, 1), "int32")
DECLARED = [("image", [None, 4], "float32"), ("number", [None, 1], "int32")]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", ["hyper-batch", "hyper-deep"])
def test_dtypes_are_the_declared_ones_after_a_prediction(kind, policy):
    keras.config.set_dtype_policy(policy)
    try:
        if kind == "hyper-batch":
            ensemble = ensemble_of(keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, ensemble_size=2)]))
        else:
            ensemble = khe.HyperDeepEnsemble([keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])])
            ensemble.run_eagerly = True
    finally:
        keras.config.set_dtype_policy("float32")
    before = described(input_specs(ensemble))
    for rows in (IMAGES, IMAGES.astype("float64"), IMAGES.astype("float16")):
        ensemble.predict(rows, verbose=0)
        assert described(input_specs(ensemble)) == before == [("inputs", [None, 4], "float32")]


def test_a_network_that_declares_nothing_takes_what_it_was_called_on():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        ensemble = ensemble_of(Subclassed(), **members())
        ensemble._trainer.build(tf.TensorSpec([None, 4]))
        ensemble.predict(IMAGES, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert described(input_specs(ensemble)) == [("inputs", [None, 4], "float32")]


@pytest.mark.parametrize("given", ["list", "dict"])
def test_several_inputs_keep_their_names(given):
    ensemble = ensemble_of(two_inputs(lambda *inputs: list(inputs)))
    assert described(input_specs(ensemble)) == DECLARED
    batch = [IMAGES, NUMBERS] if given == "list" else {"number": NUMBERS, "image": IMAGES}
    ensemble.predict(batch, verbose=0)
    assert sorted(described(input_specs(ensemble))) == DECLARED


def test_inputs_of_a_dictionary_have_its_names():
    ensemble = ensemble_of(two_inputs(lambda image, number: {"number": number, "image": image}))
    ensemble.predict({"image": IMAGES, "number": NUMBERS}, verbose=0)
    assert described(input_specs(ensemble)) == DECLARED


@pytest.mark.integration
def test_a_saved_model_takes_them(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        ensemble = ensemble_of(two_inputs(lambda *inputs: list(inputs)))
    finally:
        keras.config.set_dtype_policy("float32")
    predicted = ensemble.predict([IMAGES, NUMBERS], verbose=0)
    ensemble.export(tmp_path / "served")
    serve = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    served = serve(image=tf.constant(IMAGES), number=tf.constant(NUMBERS))["prediction"]
    np.testing.assert_allclose(served, predicted, atol=2e-3)


@pytest.mark.parametrize("kind", ["hyper-batch", "hyper-deep"])
def test_a_signature_of_the_users(kind, tmp_path, capsys):
    if kind == "hyper-batch":
        ensemble = khe.HyperBatchEnsemble(keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, **members())]))
    else:
        ensemble = khe.HyperDeepEnsemble([keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])])
    rows = np.ones((2, 4), "float32")
    ensemble.export(tmp_path / "served", input_signature=[tf.TensorSpec((2, 4), "float32")], verbose=True)
    assert "serving_default" in capsys.readouterr().out
    function = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    assert function.structured_input_signature[1]["inputs"].shape == (2, 4)
    served = function(inputs=tf.constant(rows))["prediction"]
    np.testing.assert_allclose(served, ensemble.predict(rows, verbose=0), atol=1e-6)
    for wrong in ([], [tf.TensorSpec((2, 4))] * 2, ["float32"], 3):
        with pytest.raises(ValueError, match="`input_signature` must have one `tf.TensorSpec` for each of 1 inputs"):
            ensemble.export(tmp_path / "other", input_signature=wrong)
    for format in ("tf_saved_model", "onnx", "openvino"):
        with pytest.raises(TypeError, match=r"takes .*'verbose'.*Received: \['verbos'\]"):
            ensemble.export(tmp_path / "other", format=format, verbos=False)
    with pytest.raises(ValueError, match="Only a SavedModel supports.*Received: format='onnx', measures="):
        ensemble.export(tmp_path / "other", format="onnx", measures=["margin"])
    if kind == "hyper-batch":
        with pytest.raises(ValueError, match="Only a SavedModel supports.*folded=False"):
            ensemble.export(tmp_path / "other", format="litert", folded=False)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]
