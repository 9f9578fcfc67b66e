"""State that a layer keeps beyond its weights and its configuration comes along."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_hyperens as khe

M = 2
L2 = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
X = np.random.default_rng(0).normal(50, 4, size=(6, 4)).astype("float32")


def check(model, x=X):
    """The ensemble, whose members and files predict what the model predicts."""
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    expected = np.asarray(model(x))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ensemble._member_outputs(x), [expected] * M, rtol=1e-4, atol=1e-5 * scale)
    np.testing.assert_allclose(ensemble.member(1)(x), expected, rtol=1e-4, atol=1e-5 * scale)
    return ensemble


def reloaded(ensemble, folder, x=X):
    ensemble.save(folder / "ensemble.keras")
    loaded = keras.models.load_model(folder / "ensemble.keras")
    loaded.run_eagerly = ensemble.run_eagerly = True
    np.testing.assert_allclose(loaded.predict(x, verbose=0), ensemble.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nested", [False, True])
def test_an_adapted_normalization(nested, tmp_path):
    normalization = layers.Normalization()
    normalization.adapt(X)
    first = keras.Sequential([keras.Input((4,)), normalization, layers.Dense(5)]) if nested else normalization
    ensemble = check(keras.Sequential([keras.Input((4,)), first, layers.Dense(3)]))
    reloaded(ensemble, tmp_path)


@pytest.mark.parametrize("folded", [True, False])
def test_a_text_vectorization(folded, tmp_path):
    vectorization = layers.TextVectorization(output_mode="multi_hot", max_tokens=6)
    vectorization.adapt(["the cat sat", "the dog sat"])
    model = keras.Sequential([keras.Input((), dtype="string"), vectorization, layers.Dense(3)])
    words = ops.convert_to_tensor(["the cat", "a dog", "sat"])
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    expected = np.asarray(model(words))
    np.testing.assert_allclose(ensemble._member_outputs(words), [expected] * M, rtol=1e-5, atol=1e-6)
    ensemble.export(tmp_path / "served", folded=folded)
    served = keras.layers.TFSMLayer(tmp_path / "served", call_endpoint="serve")
    np.testing.assert_allclose(served(words), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["dense", "embedding", "attention"])
def test_low_rank_factors_are_merged(kind):
    inputs = keras.Input((4,), dtype="int32" if kind == "embedding" else "float32")
    if kind == "dense":
        layer = adapted = layers.Dense(5)
        hidden = layer(inputs)
    elif kind == "embedding":
        layer = adapted = layers.Embedding(7, 5)
        hidden = layers.Flatten()(layer(inputs))
    else:
        layer = layers.MultiHeadAttention(2, 3)
        hidden = layers.Flatten()(layer(inputs[:, :, None], inputs[:, :, None]))
        adapted = layer._query_dense
    model = keras.Model(inputs, layers.Dense(3)(hidden))
    adapted.enable_lora(2)
    for name in ("lora_kernel_b", "lora_embeddings_b"):
        if hasattr(adapted, name):
            factor = getattr(adapted, name)
            factor.assign(np.ones(factor.shape))
    ensemble = check(model, np.array([[1, 2, 3, 4], [4, 3, 2, 0]]).astype(inputs.dtype))
    assert "LoRA merged" in {part for each in ensemble._report.records for part in each.driven_by.split(", ")}


@pytest.mark.filterwarnings("ignore:All members share")
def test_a_quantized_layer_is_shared():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, name="small"), layers.Dense(3)])
    model.layers[0].quantize("int8")
    ensemble = check(model)
    assert [each.reason for each in ensemble._report.records if each.layer == "small"] == ["quantized"]


class Drawn(layers.Layer):
    """Has no configuration, and what its constructor draws; takes no `name`."""

    def __init__(self, function):
        super().__init__()
        self.matrix, self.function = np.random.default_rng().normal(size=(4, 5)).astype("float32"), function

    def call(self, inputs):
        return self.function(ops.matmul(inputs, self.matrix))


def test_a_layer_without_a_configuration():
    model = keras.Sequential([keras.Input((4,)), Drawn(ops.sin), layers.Dense(3)])
    check(model)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_functions_that_no_configuration_names():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(
                5,
                activation=lambda x: ops.sin(x / 10),
                kernel_initializer=lambda shape, dtype=None: ops.ones(shape, dtype),
                kernel_constraint=lambda kernel: kernel,
            ),
            layers.Dense(3, activation=lambda x: x),
        ]
    )
    ensemble = check(model)
    assert {each.became for each in ensemble._report.records} == {"HyperBatchDense"}


def test_a_function_as_penalty_leaves_the_layer_shared():
    penalty = lambda kernel: ops.sum(ops.abs(kernel))  # noqa: E731
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, kernel_regularizer=penalty), layers.Dense(3)])
    with pytest.warns(UserWarning, match="neither L1 nor L2"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    np.testing.assert_allclose(ensemble._member_outputs(X), [np.asarray(model(X))] * M, rtol=1e-4, atol=1e-3)
