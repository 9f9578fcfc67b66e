"""Sequences: speech to text, text to speech, the class of a text."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_hyperens as khe
from tests.tasks.contract import L2
from tests.tasks.contract import M
from tests.tasks.contract import task_contract

LETTERS, MELS = 5, 8
VOICE = np.random.default_rng(0).normal(size=(LETTERS + 1, MELS))  # how each letter sounds


@pytest.mark.integration
def test_speech_recognition(tmp_path):
    spectrogram = keras.Input((24, MELS))
    frames = layers.Conv1D(16, 3, strides=2, padding="same", activation="relu")(spectrogram)
    frames = layers.Bidirectional(layers.GRU(12, return_sequences=True))(frames)
    model = keras.Model(spectrogram, layers.Dense(LETTERS + 1)(frames))  # 0 is the blank
    model.compile(keras.optimizers.Adam(0.01), keras.losses.CTC())
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    generator = np.random.default_rng(0)
    letters = generator.integers(1, LETTERS + 1, (128, 3))
    x = np.repeat(VOICE[letters], 8, axis=1) + 0.3 * generator.normal(size=(128, 24, MELS))
    x = x.astype("float32")
    task_contract(ensemble, x, letters, tmp_path, epochs=20)
    (heard,), _ = keras.ops.ctc_decode(ensemble.predict(x, verbose=0), np.full(128, 12), mask_index=0)
    assert np.all(np.asarray(heard)[:, :3] == letters, axis=1).mean() > 0.5  # by chance 0.01


def speaker(hp):
    letters = keras.Input((6,), dtype="int32")
    x = layers.Embedding(LETTERS + 1, 8)(letters)
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True, dropout=hp.Float("dropout", 0.01, 0.3)))(x)
    x = layers.TimeDistributed(layers.Dense(16, activation="relu"))(x)
    penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    spectrogram = layers.Conv1DTranspose(MELS, 4, strides=2, padding="same", kernel_regularizer=penalty)(x)
    model = keras.Model(letters, spectrogram)
    model.compile(keras.optimizers.Adam(0.01), "mean_absolute_error")
    return model


@pytest.mark.integration
def test_text_to_speech(tmp_path):
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(speaker, ensemble_size=M)
    assert set(ensemble.space.names) == {"dropout", "l2"}
    letters = np.random.default_rng(0).integers(1, LETTERS + 1, (128, 6))
    sound = np.repeat(VOICE[letters], 2, axis=1) * np.tile([1.0, 0.5], 6)[:, None]
    task_contract(ensemble, letters, sound.astype("float32"), tmp_path, epochs=10)


@keras.saving.register_keras_serializable("tests")
class Positions(layers.Layer):
    """Adds a vector to every word for its place."""

    supports_masking = True

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, inputs):
        return inputs + self.table


@pytest.mark.integration
def test_text_classification(tmp_path):
    words = keras.Input((10,), dtype="int32")
    x = Positions(name="positions")(layers.Embedding(20, 12, mask_zero=True)(words))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 6, dropout=0.1)(x, x))
    x = layers.LayerNormalization()(x + layers.Dense(12)(layers.Dense(24, activation="gelu")(x)))
    model = keras.Model(words, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), crossentropy, metrics=["accuracy"])
    with pytest.warns(UserWarning, match="All members share these layers: positions"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    generator = np.random.default_rng(0)
    x = generator.integers(1, 20, (192, 10)) * (np.arange(10) < generator.integers(4, 11, (192, 1)))  # 0: no word
    good, bad = ((x > 0) & (x < 6)).sum(1), ((x > 5) & (x < 11)).sum(1)
    y = np.where(good > bad, 1, 0)
    task_contract(ensemble, x, y, tmp_path, epochs=6)
    assert ensemble.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.8
