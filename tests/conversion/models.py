"""Ordinary Keras models and hypermodels, of many shapes."""

import keras
from keras import layers
from keras import ops

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.SpatialDropout2D(0.2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, activation="relu", bias_regularizer=keras.regularizers.L1L2(0.1, 0.2)),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )


def branches():
    """Branches, a layer used twice, bare operations, two outputs, a nested model."""
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    shared = layers.Dense(5, activation="tanh", name="shared")
    inner = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, name="deep"), layers.LayerNormalization()], name="inner"
    )
    joined = inner(shared(left)) + 2 * inner(shared(right))
    joined = layers.Concatenate()([joined[:, :2], ops.tanh(joined[:, 2:])])
    return keras.Model(
        {"left": left, "right": right},
        {"label": layers.Dense(3, name="label")(joined), "value": layers.Dense(1, name="value")(joined)},
    )


def sequences():
    tokens = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 6, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.TimeDistributed(layers.Dense(5))(x)
    x = layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x)
    x = layers.GRU(4)(x)
    return keras.Model(tokens, layers.Dense(3)(x))


def small_hypermodel(hp):
    """Everything that a member can have of its own, and things that it cannot."""
    l2 = hp.Float("l2", 1e-5, 1e-2, sampling="log")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(hp.Int("units", 4, 16, default=8), "relu", kernel_regularizer=keras.regularizers.L2(l2)),
            layers.Dropout(hp.Float("dropout", 0.0, 0.5)),
            layers.GaussianNoise(hp.Float("noise", 0.0, 0.3)),
            layers.Dense(3, kernel_regularizer=keras.regularizers.L1L2(l1=hp.Float("l1", 1e-6, 1e-3), l2=0.5 * l2)),
        ]
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=hp.Float("smoothing", 0.0, 0.2))
    model.compile(
        keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1, sampling="log", default=1e-2)), loss, metrics=["accuracy"]
    )
    return model
