"""What a task is, and how any of its three methods is built, trained and scored.

All methods come from the same `build_model(hp)` and take the same training rows, batches, optimizer, number of epochs
at most and stopping rule. Only the hyper-batch ensemble looks at the tuning rows while it trains; the others have their
L2 and dropout chosen beforehand on tuning and validation rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks.data import Data
from benchmarks.data import Rows
from benchmarks.methods import Schedule
from keras_hyperens import likelihoods

ENSEMBLE_SIZE = 4
Hypermodel = Callable[[keras_tuner.HyperParameters], keras.Model]
Settings = dict[str, float]


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


def build(task: Task, method: str, data: Data, settings: Settings, seed: int) -> keras.Model:
    """The compiled model of a method; `settings` are the hyperparameters that it does not tune."""
    keras.utils.set_random_seed(seed)
    build_model = task.hypermodel(data, task.schedule)
    if method == "single":
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = dict(settings)
        return build_model(hyperparameters)
    sharing = {"batch": "batch", "hyper-batch": "hyper"}[method]
    return khe.HyperBatchEnsemble.from_hypermodel(
        build_model, ensemble_size=ENSEMBLE_SIZE, sharing=sharing, fixed=settings, seed=seed
    )


def train(task: Task, model: keras.Model, data: Data, verbose: int = 0) -> dict[str, list[float]]:
    """Trains until the validation NLL has not fallen for a while, and takes the best epoch's weights."""
    tunes = isinstance(model, khe.HyperBatchEnsemble) and len(model.space)
    # Not `val_loss`: a single network's has its penalties, an ensemble's has none.
    stop = keras.callbacks.EarlyStopping(
        "val_nll", mode="min", patience=task.schedule.patience, restore_best_weights=True
    )
    return model.fit(
        *data.train,
        batch_size=task.schedule.batch_size,
        epochs=task.schedule.epochs,
        validation_data=data.validation,
        callbacks=[stop],
        verbose=verbose,
        **({"tuning_data": data.tuning} if tunes else {}),
    ).history


def score(task: Task, model: keras.Model, rows: Rows) -> dict[str, float]:
    return task.measures(predict_members(model, rows[0]), rows[1])


def predict_members(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Predictions `[M, B, ...]`: a single network has one member."""
    if isinstance(model, khe.HyperBatchEnsemble):
        return model.predict_members(inputs, batch_size=200, verbose=0)
    raw = model.predict(inputs, batch_size=200, verbose=0)
    return keras.ops.convert_to_numpy(likelihoods.of_losses(model.loss).predict(raw))[None]


def nll_of_logits() -> keras.metrics.Metric:
    return keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")


def tuned(
    hp: keras_tuner.HyperParameters, l2: tuple[float, float], dropout: tuple[float, float]
) -> tuple[keras.Regularizer, float]:
    """What every task's `build_model` leaves open, in its own ranges: L2 of all kernels, and dropout."""
    return keras.regularizers.L2(hp.Float("l2", *l2, sampling="log")), hp.Float("dropout", *dropout)
