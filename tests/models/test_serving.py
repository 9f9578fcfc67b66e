"""Exports in the hands of others: ONNX Runtime, OpenVINO and LiteRT, each in a process without TensorFlow."""

import os
import sys
import sysconfig
from functools import cache

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.serving import predicted_by
from tests.serving import run

pytestmark = pytest.mark.integration

ONNX = """
import onnxruntime
session = onnxruntime.InferenceSession(path)
def predict(rows): return session.run([output] if output else None, {session.get_inputs()[0].name: rows})[0]
"""
OPENVINO = """
import openvino
model = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
def predict(rows): return model([rows])[output or 0]
"""
LITERT = """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(path)
def predict(rows):
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, rows.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, rows)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
"""
AROUND = """
import sys
for name in ("tensorflow", "keras", "keras_hyperens"):
    sys.modules[name] = None  # an import fails
import numpy as np
x_file, p_file, path, output = sys.argv[1:]
x = np.load(x_file)
{runtime}
np.save(p_file, np.concatenate([predict(x), predict(x[:1])]))
"""
FORMATS = {"onnx": ("e.onnx", ONNX), "openvino": ("e.xml", OPENVINO), "litert": ("e.tflite", LITERT)}
NEEDED = {"onnx": "tf2onnx", "openvino": "openvino", "litert": "ai_edge_litert"}


def images(hp):
    """Convolutions, batch normalization, dropout."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            keras.layers.Conv2D(4, 3, kernel_regularizer=l2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.SeparableConv2D(4, 3, depthwise_regularizer=l2),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.5)),
            keras.layers.Dense(5, kernel_regularizer=l2),
        ]
    )


def words(hp):
    """Integers, attention, normalization of layers."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    inputs = keras.Input((6,), dtype="int32")
    hidden = keras.layers.Embedding(20, 8)(inputs)
    hidden = hidden + keras.layers.MultiHeadAttention(2, 4, kernel_regularizer=l2)(hidden, hidden)
    hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(hidden))
    return keras.Model(inputs, keras.layers.Dense(5, kernel_regularizer=l2)(hidden))


def series(hp):
    """Recurrent layers."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.LSTM(4, kernel_regularizer=l2, return_sequences=True),
            keras.layers.GRU(4, kernel_regularizer=l2),
            keras.layers.Dense(5, kernel_regularizer=l2),
        ]
    )


@cache
def trained(kind, network):
    """An ensemble of three and rows for it, for all tests that export it."""

    def build_model(hp):
        model = network(hp)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        return model

    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    models = [build_model(keras_tuner.HyperParameters()) for _ in range(3)]
    shape = (24, *models[0].input_shape[1:])
    x = generator.integers(0, 20, shape, "int32") if network is words else generator.normal(size=shape)
    x, y = x.astype(models[0].inputs[0].dtype), generator.integers(0, 5, 24)
    if kind == "hyper-batch":
        ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=3, seed=0)
        ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    else:
        for model in models:
            model.fit(x, y, verbose=0)
        ensemble = khe.HyperDeepEnsemble(models)
    ensemble.calibrate(x, y, verbose=0)
    return ensemble, x[:5]


def predicted(runtime, path, x, directory, output=""):
    """What a runtime predicts for the rows, and for the first of them alone, `[6, C]`."""
    return predicted_by(AROUND.format(runtime=runtime), x, directory, path, output)


def check(got, wanted):
    np.testing.assert_allclose(got, np.concatenate([wanted, wanted[:1]]), atol=2e-6)


@pytest.mark.filterwarnings("ignore")  # of the converters
@pytest.mark.parametrize(("network", "formats"), [(images, FORMATS), (words, FORMATS), (series, ["onnx"])])
@pytest.mark.parametrize("kind", ["hyper-batch", "hyper-deep"])
def test_keras_own_formats(kind, network, formats, tmp_path):
    ensemble, x = trained(kind, network)
    for format in formats:
        pytest.importorskip(NEEDED[format], reason="the extra `serving` is not installed")
        path, runtime = FORMATS[format]
        ensemble.export(tmp_path / path, format=format, verbose=False)
        if network is words and format == "onnx":
            check_that_integers_stay_integers(ensemble, tmp_path / path)
        check(predicted(runtime, path, x, tmp_path), ensemble.predict(x, verbose=0))


def check_that_integers_stay_integers(ensemble, path):
    """Keras' export asks a model, not its inputs, for their dtype."""
    import onnxruntime

    for is_second in (False, True):  # also after an export
        if is_second:
            ensemble.export(path, format="onnx", verbose=False)
        (given,) = onnxruntime.InferenceSession(path).get_inputs()
        assert given.type == "tensor(int32)" and given.name == "inputs"


@pytest.mark.parametrize(
    ("kind", "network"), [("hyper-batch", images), ("hyper-batch", series), ("hyper-deep", series)]
)
def test_a_saved_model_in_other_formats_and_by_its_own_tool(kind, network, tmp_path):
    """With the signature `uncertainty`, and recurrent layers, which Keras' export to OpenVINO and LiteRT cannot do.

    Of images both kinds of ensembles export the same operations.
    """
    for package in NEEDED.values():
        pytest.importorskip(package, reason="the extra `serving` is not installed")
    ensemble, x = trained(kind, network)
    said = ensemble.predict_uncertainty(x, verbose=0)
    ensemble.export(tmp_path / "served")
    module = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", "served", "--signature_def", "uncertainty"]
    run([*module, "--output", "u.onnx", "--opset", "18"], tmp_path)
    runtimes = (ONNX,) if network is series else (ONNX, OPENVINO)  # OpenVINO does not read loops from ONNX
    for output in ("prediction", "mutual_information"):
        for runtime in runtimes:
            check(predicted(runtime, "u.onnx", x, tmp_path, output), said[output])
    converts = "import openvino; openvino.save_model(openvino.convert_model('served'), 's.xml', False)"
    run([sys.executable, "-c", converts], tmp_path)
    check(predicted(OPENVINO, "s.xml", x, tmp_path, "prediction"), said["prediction"])
    if network is images:
        check_by_its_own_tool(x, said, tmp_path)


def check_by_its_own_tool(x, said, tmp_path):
    tool = os.path.join(sysconfig.get_path("scripts"), "saved_model_cli")
    arguments = ["--dir", "served", "--tag_set", "serve", "--signature_def", "uncertainty", "--inputs", "inputs=x.npy"]
    np.save(tmp_path / "x.npy", x)
    run([tool, "run", *arguments, "--outdir", "out"], tmp_path)
    for output in ("prediction", "mutual_information"):
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{output}.npy"), said[output], atol=2e-6)


@pytest.mark.parametrize("signature", [None, (None, 12, 12, 1)], ids=["free", "given"])
@pytest.mark.filterwarnings("ignore")  # of the converters
def test_images_of_any_size(signature, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pixels = keras.Input((None, None, 1))
    features = keras.layers.Conv2D(3, 5, activation="relu")(pixels)  # more than one pixel is needed
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(features))
    ensemble = khe.HyperBatchEnsemble.from_model(keras.Model(pixels, outputs), ensemble_size=2)
    given = {} if signature is None else {"input_signature": [tf.TensorSpec(signature, "float32")]}
    ensemble.export(str(tmp_path / "ensemble.onnx"), format="onnx", verbose=False, **given)
    session = onnxruntime.InferenceSession(str(tmp_path / "ensemble.onnx"))
    for size in (12, 9) if signature is None else (12,):
        x = np.random.default_rng(0).normal(size=(3, size, size, 1)).astype("float32")
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(found, ensemble.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
