"""Candidates become models again, whatever way a hypermodel writes its models."""

import json

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from keras_hyperens import files
from keras_hyperens.search.assembly import trained_model
from keras_hyperens.search.candidate_models import as_hypermodel

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


class OneOutput(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.dropout = keras.layers.Dense(3), keras.layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.dense(self.dropout(x, training=training))


class TwoOfEach(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = keras.layers.Dense(2), keras.layers.Dense(3)

    def call(self, inputs):
        return {"b": self.b(inputs["p"]), "a": self.a(inputs["q"])}


@pytest.mark.parametrize(("kind", "x"), [(OneOutput, X), (TwoOfEach, {"p": X, "q": X[:, :2]})])
def test_subclassed_models_are_built_before_their_weights_are_loaded(kind, x, tmp_path):
    def build(hp):
        model = kind()
        model.compile("adam", "mse", run_eagerly=True)
        return model

    model = build(None)
    y = keras.tree.map_structure(np.zeros_like, model.predict(x, verbose=0))
    model.fit(x, y, verbose=0)
    model.save_weights(tmp_path / "a.weights.h5")
    config = json.loads(json.dumps(model.get_build_config()))
    loaded = trained_model(as_hypermodel(build), {}, tmp_path / "a.weights.h5", config)
    members = khe.HyperDeepEnsemble([loaded])
    keras.tree.map_structure(np.testing.assert_allclose, members(x, training=False), model(x, training=False))
    (tmp_path / "a.weights.h5").write_bytes(b"damaged")
    with pytest.raises(files.Damaged, match="a.weights.h5 is damaged"):
        trained_model(as_hypermodel(build), {}, tmp_path / "a.weights.h5", config)
