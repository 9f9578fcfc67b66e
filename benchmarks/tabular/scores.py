"""Scores of a method's predictions, with a temperature for every method."""

import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks.experiment import Run
from benchmarks.tabular import tuning
from benchmarks.tabular.tables import Table

Z = 1.6448536  # quantile of a central 90 % interval


def measured(trained: tuning.Trained, table: Table) -> Run:
    """Returns scores on test samples, and on later ones as `later`, with a temperature fitted on the held-out samples.

    Hyper-batch ensembles tune a temperature during training, so for a fair comparison all methods have one. `raw_nll`
    is the NLL without it.
    """
    temperature = fitted_temperature(trained.predict(table.held_out), table.held_out.targets, table)
    trained.predict(table.test)  # compiles the prediction
    start = tuning.clock()
    predicted = trained.predict(table.test)
    microseconds = 1e6 * (tuning.clock() - start) / len(table.test)
    found = scores(tempered(predicted, temperature, table), table.test.targets, table)
    run = {**dict(list(found.items())[:2]), "seconds": round(trained.seconds, 1), **found}
    run["raw_nll"] = nll(predicted, table.test.targets, table)
    if table.later is not None:
        run["later"] = scores(tempered(trained.predict(table.later), temperature, table), table.later.targets, table)
    about = {"temperature": temperature, "parameters": trained.parameters, "microseconds": round(microseconds, 2)}
    return {**run, **about, "trials": trained.trials, "settings": trained.settings}


def scores(predicted: np.ndarray, targets: np.ndarray, table: Table) -> Run:
    """Returns NLL, accuracy, AUROC of class 1 and ECE, or NLL, RMSE (in the unit of the target) and coverage."""
    if table.classes:
        from sklearn.metrics import roc_auc_score

        found = experiment.scores(predicted, targets)
        auroc = float(roc_auc_score(targets, predicted[:, 1]))
        return {"nll": found.nll, "accuracy": found.accuracy, "auroc": auroc, "ece": found.ece}
    mean, scale = predicted[:, 0], np.sqrt(predicted[:, 1])
    residuals = targets - mean
    rmse = float(np.sqrt(np.square(residuals).mean()) * table.scale)
    coverage = float((np.abs(residuals) <= Z * scale).mean())
    return {"nll": nll(predicted, targets, table), "rmse": rmse, "coverage": coverage}


def nll(predicted: np.ndarray, targets: np.ndarray, table: Table) -> float:
    if table.classes:
        return experiment.nll(predicted, targets)
    mean, variance = predicted.astype("float64").T
    density = np.log(2 * np.pi * variance) + np.square(targets - mean) / variance
    return float(density.mean() / 2 + np.log(table.scale))


def fitted_temperature(predicted: np.ndarray, targets: np.ndarray, table: Table) -> float:
    """Returns T with the lowest NLL, for normalized probabilities `p ** (1 / T)` or T times the variance."""
    if table.classes:
        return khe.calibration.fit_temperature(predicted, targets)
    return khe.calibration.fit_variance_scale(*predicted.T, targets)


def tempered(predicted: np.ndarray, temperature: float, table: Table) -> np.ndarray:
    if not table.classes:
        return predicted * np.array([1.0, temperature])
    logits = np.log(np.maximum(predicted, 1e-12)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
