"""Training and scoring one method: a single network, a batch ensemble, or a hyper-batch ensemble.

All take the same training rows, batches, optimizer, number of epochs at most and stopping rule. The hyper-batch
ensemble tunes on the tuning rows while it trains, and the batch ensemble its temperature; L2 and dropout of the others
were chosen beforehand on those rows and the validation rows.
"""

from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks import networks
from benchmarks.data import Data
from benchmarks.data import Rows

METHODS = ("single", "batch", "hyper-batch")


@dataclass(frozen=True)
class Schedule:
    """How to train: the same for every method of a comparison.

    The learning rate falls to 0 over the epochs (a cosine): at a constant one the NLL of every method still jumps by
    more from epoch to epoch than the methods differ.
    """

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float = 1e-3

    def optimizer(self, rows: int) -> keras.optimizers.Optimizer:
        steps = self.epochs * -(-rows // self.batch_size)
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(self.learning_rate, steps))


SCHEDULES = {"digits": Schedule(100, 20, 32), "default": Schedule(20, 5, 64)}


@dataclass(frozen=True)
class Scores:
    """On rows never trained on; all are better when lower, but accuracy."""

    nll: float
    accuracy: float
    ece: float


def schedule_of(data: Data) -> Schedule:
    return SCHEDULES.get(data.name, SCHEDULES["default"])


def build(
    method: str,
    data: Data,
    ensemble_size: int,
    settings: dict[str, float],
    seed: int,
    learning_rate: float = Schedule.learning_rate,
) -> keras.Model:
    """The compiled model of a method, all from one hypermodel; `settings` are hyperparameters that it does not tune.

    All have the hypermodel's defaults for what is not among the settings; a hyper-batch ensemble begins around them.
    """
    keras.utils.set_random_seed(seed)
    build_model = networks.hypermodel_of(data, replace(schedule_of(data), learning_rate=learning_rate))
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values = dict(settings)
    single = build_model(hyperparameters)
    if method == "single":
        return single
    sharing = {"batch": "batch", "hyper-batch": "hyper"}[method]
    defaults = {name: value for name, value in hyperparameters.values.items() if name not in settings}
    return khe.HyperBatchEnsemble.from_hypermodel(
        build_model, ensemble_size=ensemble_size, fixed=settings, sharing=sharing, initial_values=defaults, seed=seed
    )


def train(
    model: keras.Model,
    data: Data,
    callbacks: list[Any],
    verbose: int = 0,
    schedule: Schedule | None = None,
    monitor: str = "val_loss",
) -> dict[str, list[float]]:
    """Trains until the validation loss has not fallen for a while, and takes the best epoch's weights."""
    schedule = schedule or schedule_of(data)
    stop = keras.callbacks.EarlyStopping(monitor, mode="min", patience=schedule.patience, restore_best_weights=True)
    tunes = isinstance(model, khe.HyperBatchEnsemble) and model._trainer.tuning.moves
    return model.fit(
        *data.train,
        batch_size=schedule.batch_size,
        epochs=schedule.epochs,
        validation_data=data.validation,
        callbacks=[*callbacks, stop],
        verbose=verbose,
        **({"tuning_data": data.tuning} if tunes else {}),
    ).history


def probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    outputs = model.predict(images, batch_size=500, verbose=0)
    is_ensemble = isinstance(model, khe.HyperBatchEnsemble | khe.HyperDeepEnsemble)
    return outputs if is_ensemble else keras.ops.convert_to_numpy(keras.ops.softmax(outputs))


def calibrated(model: keras.Model, data: Data) -> keras.Model:
    """The model with a temperature that was fitted on all held-out rows; a single network is wrapped.

    Validation rows alone look better than they are: training stopped where they looked best.
    """
    is_ensemble = isinstance(model, khe.HyperBatchEnsemble | khe.HyperDeepEnsemble)
    ensemble = model if is_ensemble else khe.HyperDeepEnsemble([model])
    rows = (np.concatenate(parts) for parts in zip(data.tuning, data.validation))
    ensemble.calibrate(*rows, batch_size=500, verbose=0)
    return ensemble


def scores(predicted: np.ndarray, labels: np.ndarray) -> Scores:
    calibration = khe.metrics.ExpectedCalibrationError()
    calibration.update_state(labels, predicted)
    nll = -np.log(np.maximum(predicted[np.arange(len(labels)), labels], 1e-12)).mean()
    return Scores(float(nll), float((predicted.argmax(1) == labels).mean()), float(calibration.result()))


def score(model: keras.Model, rows: Rows) -> Scores:
    return scores(probabilities(model, rows[0]), rows[1])


def table(results: dict[str, Scores]) -> str:
    """One line per method."""
    lines = [f"{'':<24}{'NLL':>8}{'accuracy':>10}{'ECE':>8}"]
    for name, result in results.items():
        values = asdict(result)
        lines.append(f"{name:<24}{values['nll']:>8.4f}{values['accuracy']:>10.4f}{values['ece']:>8.4f}")
    return "\n".join(lines)
