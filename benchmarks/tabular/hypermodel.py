"""Network of all methods except TabM and trees: a `build_model(hp)` that includes the encoding of the columns."""

from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks.experiment import Hypermodel
from benchmarks.tabular import tuning
from benchmarks.tabular.tables import Table

WIDTH, DEPTH = 256, 2
EMBEDDING = 8
BATCH = 256
STEPS = 3_000
RATE, RATES = 2e-3, (5e-4, 1e-2)


def epochs_of(table: Table, steps: int = STEPS) -> int:
    return max(1, round(steps / -(-len(table.train) // BATCH)))


def hypermodel(table: Table, steps: int | None = None, width: int = WIDTH) -> Hypermodel:
    """Returns a hypermodel with the learning rate, L2 and dropout.

    Args:
        table: Table with the input columns.
        steps: Number of steps of a cosine decay of the learning rate to 0; by default the rate is constant.
        width: Units of each hidden layer.
    """

    def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
        l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log", default=1e-4))
        dropout = hp.Float("dropout", 0.0, 0.5, default=0.1)
        rate: Any = hp.Float("learning_rate", *RATES, sampling="log", default=RATE)
        inputs, x = _columns(table)
        for _ in range(DEPTH):
            x = keras.layers.Dense(width, "relu", kernel_regularizer=l2)(x)
            x = keras.layers.Dropout(dropout)(x)
        model = keras.Model(inputs, keras.layers.Dense(table.classes or 2, kernel_regularizer=l2)(x))
        rate = keras.optimizers.schedules.CosineDecay(rate, steps) if steps else rate
        loss, nll = _loss_and_metric(table)
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0), loss, metrics=[nll])  # as TabM
        return model

    return build_model


def _columns(table: Table) -> tuple[dict[str, Any], Any]:
    """Returns the inputs, and all columns concatenated: normalized numbers and embedded categories."""
    inputs = {
        "numbers": keras.Input(table.train.numbers.shape[1:], name="numbers"),
        "categories": keras.Input(table.train.categories.shape[1:], dtype="int64", name="categories"),
    }
    mean, variance = table.moments
    numbers = keras.layers.Normalization(mean=mean.tolist(), variance=variance.tolist())(inputs["numbers"])
    lookup = keras.layers.IntegerLookup(vocabulary=np.concatenate(table.vocabularies).tolist())
    spread = keras.initializers.RandomNormal(stddev=EMBEDDING**-0.5)
    embedding = keras.layers.Embedding(lookup.vocabulary_size(), EMBEDDING, embeddings_initializer=spread)
    embedded = keras.layers.Flatten()(embedding(lookup(inputs["categories"])))
    return inputs, keras.layers.Concatenate()([numbers, embedded])


def _loss_and_metric(table: Table) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
    if table.classes:
        nll = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True), nll
    metric = khe.metrics.GaussianNegativeLogLikelihood(name="nll", from_log_scale=True)
    return khe.losses.GaussianNegativeLogLikelihood(), metric


class Annealing(keras.callbacks.Callback):
    """Cosine decay of the learning rate to 0, over all epochs or the given seconds, whichever end first."""

    def __init__(self, epochs: int, seconds: float) -> None:
        super().__init__()
        self.epochs, self.seconds = epochs, seconds

    def on_train_begin(self, logs: Any = None) -> None:
        self.start, self.steps = tuning.clock(), 0
        self.rate = float(self.model.optimizer.learning_rate)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        share = max(self.steps / (self.epochs * self.params["steps"]), (tuning.clock() - self.start) / self.seconds)
        self.model.optimizer.learning_rate.assign(self.rate * (1 + np.cos(np.pi * min(share, 1.0))) / 2)
        self.model.stop_training |= share >= 1
        self.steps += 1
