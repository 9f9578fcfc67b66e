"""Tables: ratings of items by users, and a number with its own noise."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_hyperens as khe
from tests.tasks.contract import L2
from tests.tasks.contract import M
from tests.tasks.contract import task_contract


@pytest.mark.integration
def test_recommendation(tmp_path):
    user, item = keras.Input((), dtype="int32", name="user"), keras.Input((), dtype="int32", name="item")
    taste, kind = layers.Embedding(30, 6)(user), layers.Embedding(20, 6)(item)
    liked = layers.Flatten()(layers.Embedding(20, 1)(item))
    rating = layers.Add()([layers.Dot(axes=1)([taste, kind]), liked])
    model = keras.Model({"user": user, "item": item}, rating)
    model.compile(keras.optimizers.Adam(0.03), "mean_squared_error", metrics=["mean_absolute_error"])
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    generator = np.random.default_rng(0)
    x = {"user": generator.integers(0, 30, 512), "item": generator.integers(0, 20, 512)}
    tastes, kinds = generator.normal(size=(30, 2)), generator.normal(size=(20, 2))
    y = 3 + np.sum(tastes[x["user"]] * kinds[x["item"]], axis=1, keepdims=True)
    task_contract(ensemble, x, y.astype("float32"), tmp_path, epochs=8)


@keras.saving.register_keras_serializable("tests")
def gaussian_nll(y_true, y_pred):
    """Of a mean and the logarithm of a scale, less a constant."""
    mean, log_scale = y_pred[:, 0], y_pred[:, 1]
    return 0.5 * ops.square((y_true[:, 0] - mean) * ops.exp(-log_scale)) + log_scale


def regressor(hp):
    penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(hp.Int("units", 16, 64, default=32), activation="relu", kernel_regularizer=penalty),
            layers.Dropout(hp.Float("dropout", 0.01, 0.3)),
            layers.Dense(2, kernel_regularizer=penalty),
        ]
    )
    model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, default=1e-2)), gaussian_nll)
    return model


@pytest.mark.integration
def test_regression_with_its_own_noise(tmp_path):
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(regressor, ensemble_size=M)
    assert set(ensemble.space.names) == {"l2", "dropout"}
    generator = np.random.default_rng(0)
    x = generator.normal(size=(256, 5)).astype("float32")
    y = x @ [[1.0], [-2.0], [0.5], [0.0], [0.0]] + generator.normal(size=(256, 1)) * np.exp(x[:, -1:])
    task_contract(ensemble, x, y.astype("float32"), tmp_path, epochs=40)
    scale = np.exp(ensemble.predict(x, verbose=0)[:, 1])
    assert np.corrcoef(np.log(scale), x[:, -1])[0, 1] > 0.5
