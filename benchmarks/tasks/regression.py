"""Regression: the progression of diabetes in 442 patients, and how uncertain it is, by an MLP with a Gaussian head."""

import keras
import keras_tuner
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from benchmarks.data import Data
from benchmarks.experiment import Hypermodel
from benchmarks.experiment import Schedule
from benchmarks.tasks.task import Task
from benchmarks.tasks.task import tuned

ROWS = (222, 60, 60, 100)  # to train, tune, validate and test


def load(seed: int) -> Data:
    """Another division of the rows for every seed, test rows included; targets in standard deviations."""
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    chosen = np.split(np.random.default_rng(seed).permutation(len(targets)), np.cumsum(ROWS)[:-1])
    x_mean, x_scale = inputs[chosen[0]].mean(0), inputs[chosen[0]].std(0)
    y_mean, y_scale = targets[chosen[0]].mean(), targets[chosen[0]].std()
    inputs = ((inputs - x_mean) / x_scale).astype("float32")
    targets = ((targets - y_mean) / y_scale).astype("float32")[:, None]
    return Data("diabetes", *((inputs[rows], targets[rows]) for rows in chosen))


@keras.saving.register_keras_serializable("benchmarks")
def gaussian_nll(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Minus the log density of targets `[B, 1]` under Gaussians of mean and log scale `[B, 2]`."""
    mean, log_scale = y_pred[..., :1], y_pred[..., 1:]
    return keras.ops.square((y_true - mean) / keras.ops.exp(log_scale)) / 2 + log_scale + np.log(2 * np.pi) / 2


def hypermodel(data: Data, schedule: Schedule) -> Hypermodel:
    def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
        l2, dropout = tuned(hp, (1e-5, 1e-2), (0.0, 0.5))
        layers = [keras.Input(data.train[0].shape[1:])]
        for _ in range(2):
            layers += [keras.layers.Dense(64, "relu", kernel_regularizer=l2), keras.layers.Dropout(dropout)]
        model = keras.Sequential([*layers, keras.layers.Dense(2, kernel_regularizer=l2)])
        nll = keras.metrics.MeanMetricWrapper(gaussian_nll, name="nll")
        model.compile(schedule.optimizer(len(data.train[1])), gaussian_nll, metrics=[nll])
        return model

    return build_model


def measures(members: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of the mixture of the members' Gaussians `[M, B, 2]`."""
    mean, scale = members[..., 0], np.exp(members[..., 1])
    targets = labels[:, 0]
    density = logsumexp(norm.logpdf(targets, mean, scale), axis=0) - np.log(len(members))
    below = norm.cdf(targets, mean, scale).mean(0)  # a target is in the central 90 % if this is in [0.05, 0.95]
    return {
        "nll": float(-density.mean()),
        "rmse": float(np.sqrt(np.square(mean.mean(0) - targets).mean())),
        "coverage of 90 %": float(((below >= 0.05) & (below <= 0.95)).mean()),
    }


TASK = Task(
    "regression",
    load,
    hypermodel,
    measures,
    Schedule(epochs=60, patience=20, batch_size=16, learning_rate=3e-3),
    tuple({"l2": l2, "dropout": dropout} for l2 in (1e-4, 1e-2) for dropout in (0.1, 0.4)),
)
