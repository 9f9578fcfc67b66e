"""Weights that several layers or operations use stay tied: they are shared, and not copied."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_hyperens as khe
from keras_hyperens.conversion.summary import share_of_members

M = 2


class Reversed(layers.Layer):
    """A layer that uses the weights of another one."""

    def __init__(self, table, **kwargs):
        super().__init__(**kwargs)
        self.table = table

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.table.embeddings))


def by_operation(hidden, table):
    return ops.einsum("btd,vd->btv", hidden, table.embeddings)


def by_layer(hidden, table):
    return Reversed(table, name="mine")(hidden)


@pytest.mark.parametrize(("scores", "name"), [(by_operation, "einsum"), (by_layer, "mine")])
def test_they_are_shared_and_trained_as_one(scores, name):
    inputs = keras.Input((3,), dtype="int32")
    table = layers.Embedding(5, 4, name="table")
    model = keras.Model(inputs, scores(layers.Dense(4)(table(inputs)), table))
    with pytest.warns(UserWarning, match=f"table \\('{name}' uses its weights, too\\)"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, sharing="batch", ensemble_size=M)
    assert ensemble.network.get_layer("table") is table and ensemble.member(0).get_layer("table") is table
    ensemble.compile("sgd", "mse", run_eagerly=True)
    x = np.arange(6).reshape(2, 3) % 5
    ensemble.fit(x, np.ones((2, 3, 5)), verbose=0)
    expected = ops.convert_to_numpy(ensemble.member(0)(x))
    np.testing.assert_allclose(ensemble.predict_members(x, verbose=0)[0], expected, rtol=1e-5, atol=1e-6)


def test_one_layer_inside_and_outside_of_a_wrapper():
    dense, inputs = layers.Dense(4), keras.Input((3, 4))
    model = keras.Model(inputs, layers.TimeDistributed(dense)(inputs)[:, 0] + dense(inputs[:, 1]))
    ensemble = khe.HyperBatchEnsemble.from_model(model, sharing="batch", ensemble_size=M)
    assert len(ensemble.network.trainable_weights) == len(khe.HyperBatchEnsemble.from_model(
        keras.Sequential([keras.Input((4,)), layers.Dense(4)]), sharing="batch", ensemble_size=M
    ).network.trainable_weights)  # fmt: skip


def test_a_stateful_layer_is_named():
    model = keras.Sequential([keras.Input((3, 2), batch_size=4), layers.LSTM(2, stateful=True, name="mine")])
    with pytest.raises(ValueError, match="set `stateful=False`.*'mine'"):
        khe.HyperBatchEnsemble.from_model(model, sharing="batch")


def test_a_wrapper_is_no_normalization():
    wrapped = layers.SpectralNormalization(layers.Dense(4))
    model = keras.Sequential([keras.Input((3,)), wrapped, layers.Dense(2)])
    with warnings.catch_warnings(action="ignore"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, sharing="batch", ensemble_size=M)
    assert share_of_members(ensemble._report.records) == 10 / (10 + 16)
