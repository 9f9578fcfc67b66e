"""The models of `keras.applications`, with random weights at a small size, as hyper-batch ensembles."""

import keras
import numpy as np
import pytest

import keras_hyperens as khe

M, CLASSES = 2, 5
L2 = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-3, "log")}
SIZES = {"InceptionV3": 75, "Xception": 71}
EXACT = (
    *("MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0", "ResNet50V2", "DenseNet121"),
    *("ConvNeXtTiny", "Xception", "VGG16", "InceptionV3", "MobileNet", "EfficientNetB0", "ResNet50"),
)
FRONTS = {"EfficientNetV2B0": "block4b_add", "Xception": "add_1"}  # the last layer of those blocks that are trained
# Keras warns by itself of these when it makes or saves its own models; a layer scale has weights of its own kind.
pytestmark = [
    pytest.mark.filterwarnings("ignore:distutils"),
    pytest.mark.filterwarnings("ignore:All members share these layers.*layer_scale"),
]


def application(name, **arguments):
    size = SIZES.get(name, 64)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None, **arguments
    )
    generator = np.random.default_rng(0)
    for weight in model.weights:  # as after some training: statistics and scales that are not 0 or 1
        if "variance" in weight.name or weight.name == "gamma":
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif len(weight.shape) == 1:
            weight.assign(generator.normal(0, 0.1, weight.shape))
    return model


def kinds(model):
    return {type(layer).__name__ for layer in model.layers}


def front(name):
    """The first blocks, with a head: all kinds of layers, and a fifth of the time.

    Whole ResNets are trained by benchmarks.paper.
    """
    keras.backend.clear_session()  # names of layers begin anew
    model = application(name)
    features = keras.layers.GlobalAveragePooling2D()(model.get_layer(FRONTS[name]).output)
    outputs = keras.layers.Dense(CLASSES)(features)
    shorter = keras.Model(model.input, outputs)
    assert kinds(shorter) == kinds(model) and len(shorter.layers) < len(model.layers) / 2
    return shorter


def images(model, rows):
    return np.random.default_rng(1).uniform(0, 255, (rows, *model.input_shape[1:])).astype("float32")


def check_equal(model, ensemble):
    x = images(model, 2)
    expected, members = np.asarray(model(x)), np.asarray(ensemble._member_outputs(x))
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(members, np.stack([expected] * M), rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.integration
def test_a_small_one():
    model = application("MobileNetV2", alpha=0.35)
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    check_equal(model, ensemble)
    kinds = {record.kind: record.became for record in ensemble._report.records}
    assert kinds["DepthwiseConv2D"] == "HyperBatchDepthwiseConv2D" and kinds["BatchNormalization"] == ""


@pytest.mark.integration
@pytest.mark.parametrize("name", EXACT)
def test_it_predicts_what_the_model_predicts(name):
    model = application(name)
    check_equal(model, khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M))


@pytest.mark.integration
def test_parameters():
    model = application("ResNet50V2")
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=4)
    assert ensemble.network.count_params() / model.count_params() < 2.1
    independent = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=4, sharing="independent")
    assert independent.network.count_params() / model.count_params() == 4


@pytest.mark.integration
@pytest.mark.parametrize("name", FRONTS)
def test_training_tuning_file_and_export(name, tmp_path):
    model = front(name)
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, seed=0)
    ensemble.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), tuning_every=1)
    x, y = images(model, 4), np.arange(4) % CLASSES
    bounds = ensemble.hyperparameter_bounds()["l2"]
    history = ensemble.fit(x, y, batch_size=4, tuning_data=(x, y), verbose=0).history
    assert np.isfinite(history["loss"][0]) and np.isfinite(history["tuning_loss"][0])
    assert not np.array_equal(ensemble.hyperparameter_bounds()["l2"], bounds)
    expected = ensemble.predict(x, verbose=0)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    loaded.run_eagerly = True  # once
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)
    ensemble.export(tmp_path / "served")
    served = keras.layers.TFSMLayer(tmp_path / "served", call_endpoint="serve")
    np.testing.assert_allclose(served(x), expected, rtol=1e-3, atol=1e-4)
