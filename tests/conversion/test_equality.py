"""State of shared layers beyond weights and configuration: taken over, or the conversion says so."""

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from tests.models.networks import LOGITS

L2 = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}


@keras.saving.register_keras_serializable("tests")
class Shift(keras.layers.Layer):
    """Adds what somebody told it, which no file knows."""

    amount = 0.0

    def call(self, inputs):
        return inputs + self.amount


@keras.saving.register_keras_serializable("tests")
class SavedShift(Shift):
    """One that saves it."""

    def save_own_variables(self, store):
        store["amount"] = np.array(self.amount)

    def load_own_variables(self, store):
        self.amount = float(store["amount"])


def model_with(layer):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, "relu", name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="scores")(layer(hidden)))


def with_amount(kind):
    layer = kind(name="shift")
    model = model_with(layer)
    layer.amount = 2.0
    return model


X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


@pytest.mark.parametrize("kind", [Shift, SavedShift])
def test_a_layer_of_ones_own_is_used_as_it_is(kind):
    model = with_amount(kind)
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=2)
    expected = keras.ops.convert_to_numpy(model(X))
    np.testing.assert_allclose(ensemble._member_outputs(X), [expected] * 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ensemble.member(1)(X), expected, rtol=1e-5, atol=1e-6)
    assert ensemble.network.get_layer("shift") is model.get_layer("shift")


def test_a_vocabulary_is_taken_over():
    lookup = keras.layers.IntegerLookup(output_mode="one_hot")
    lookup.adapt(np.array([7, 11, 13, 7]))
    model = keras.Sequential([keras.Input((1,), dtype="int64"), lookup, keras.layers.Dense(3)])
    rows = np.array([[7], [11], [13], [99]])
    expected = keras.ops.convert_to_numpy(model(rows))
    assert len(np.unique(expected, axis=0)) == 4
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=2)
    np.testing.assert_allclose(ensemble._member_outputs(rows), [expected] * 2, rtol=1e-5, atol=1e-6)


def test_random_factors_are_what_they_were():
    def build_model(hp):
        penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
        model = keras.Sequential([keras.Input((4,)), SavedShift(), keras.layers.Dense(3, kernel_regularizer=penalty)])
        model.compile("sgd", LOGITS)
        return model

    ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=2, seed=0)
    factors = keras.ops.convert_to_numpy(ensemble.network.layers[-1].r)
    assert np.std(factors) > 0.05 and np.ptp(ensemble._member_outputs(X), axis=0).max() > 1e-3


@pytest.mark.parametrize("returns_scores", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(
    "attention",
    [
        lambda rate: keras.layers.MultiHeadAttention(2, 3, dropout=rate),
        lambda rate: keras.layers.GroupQueryAttention(3, 4, 2, dropout=rate),
    ],
)
@pytest.mark.filterwarnings("ignore:Layer '(query|key|value|flatten)")  # Keras says it of the plain layer
def test_queries_that_may_look_nowhere(attention, dropout, returns_scores):
    """After `Flatten` no mask is left: what attention gives at positions that do not count, counts."""
    indices = keras.Input((5,), dtype="int32")
    hidden = keras.layers.Embedding(7, 6, mask_zero=True)(indices)
    found = attention(dropout)(hidden, hidden, return_attention_scores=returns_scores)
    outputs = keras.layers.Flatten()(found[0] if returns_scores else found)
    model = keras.Model(indices, keras.layers.Dense(3)(outputs))
    rows = np.array([[1, 2, 3, 4, 5], [6, 2, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
    ensemble = khe.HyperBatchEnsemble.from_model(model, ensemble_size=2, fast_weight_initializer="ones")
    with ensemble._members.scope():
        members = ensemble._member_outputs(rows)
    for member in members:
        np.testing.assert_allclose(member, model(rows), rtol=1e-4, atol=1e-5)
