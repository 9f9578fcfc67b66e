"""What a task is, and what all hypermodels leave open."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks.data import Data
from benchmarks.data import Rows
from benchmarks.experiment import Hypermodel
from benchmarks.experiment import Schedule
from benchmarks.experiment import Settings
from keras_hyperens import likelihoods


@dataclass(frozen=True)
class Task:
    """A task: its rows for each seed, its `build_model(hp)`, and what is measured on test rows.

    `measures` takes members' predictions `[M, B, ...]` and labels `[B, ...]`; the first measure is an NLL, without
    penalties, and every compiled model has one, called `nll`, too.
    """

    name: str
    load: Callable[[int], Data]
    hypermodel: Callable[[Data, Schedule], Hypermodel]
    measures: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    schedule: Schedule
    grid: tuple[Settings, ...]

    def score(self, model: keras.Model, rows: Rows) -> dict[str, float]:
        return self.measures(predict_members(model, rows[0]), rows[1])


def predict_members(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Predictions `[M, B, ...]`: a single network has one member."""
    if isinstance(model, khe.HyperBatchEnsemble):
        return model.predict_members(inputs, batch_size=200, verbose=0)
    raw = model.predict(inputs, batch_size=200, verbose=0)
    return keras.ops.convert_to_numpy(likelihoods.of_losses(model.loss).predict(raw))[None]


def tuned(
    hp: keras_tuner.HyperParameters, l2: tuple[float, float], dropout: tuple[float, float]
) -> tuple[keras.Regularizer, float]:
    """What every task's `build_model` leaves open, in its own ranges: L2 of all kernels, and dropout."""
    return keras.regularizers.L2(hp.Float("l2", *l2, sampling="log")), hp.Float("dropout", *dropout)
