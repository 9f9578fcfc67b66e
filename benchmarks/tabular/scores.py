"""What is measured of a method's predictions, with a temperature for every method."""

import numpy as np

import keras_hyperens as khe
from benchmarks.experiment import Run
from benchmarks.tabular import tuning
from benchmarks.tabular.tables import Table

Z = 1.6448536  # of a central interval of 90 %


def measured(trained: tuning.Trained, table: Table) -> Run:
    """Scores on test samples, and on later ones under `later`: with a temperature fitted on the held-out samples.

    Hyper-batch ensembles have tuned one before, which is why all other methods must have one, too. `raw_nll` is
    without it.
    """
    temperature = fitted_temperature(trained.predict(table.held_out), table.held_out.targets, table)
    trained.predict(table.test)  # traces what is not traced yet
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
    """NLL, then accuracy, AUROC of class 1 and ECE, or RMSE and coverage, in the unit of the target."""
    found = {"nll": nll(predicted, targets, table)}
    if table.classes:
        from sklearn.metrics import roc_auc_score

        calibration = khe.metrics.ExpectedCalibrationError()
        calibration.update_state(targets, predicted)
        found["accuracy"] = float((predicted.argmax(1) == targets).mean())
        return {**found, "auroc": float(roc_auc_score(targets, predicted[:, 1])), "ece": float(calibration.result())}
    mean, scale = predicted[:, 0], np.sqrt(predicted[:, 1])
    residuals = targets - mean
    found["rmse"] = float(np.sqrt(np.square(residuals).mean()) * table.scale)
    return {**found, "coverage": float((np.abs(residuals) <= Z * scale).mean())}


def nll(predicted: np.ndarray, targets: np.ndarray, table: Table) -> float:
    if table.classes:
        return float(-np.log(np.maximum(predicted[np.arange(len(targets)), targets], 1e-12)).mean())
    mean, variance = predicted.astype("float64").T
    density = np.log(2 * np.pi * variance) + np.square(targets - mean) / variance
    return float(density.mean() / 2 + np.log(table.scale))


def fitted_temperature(predicted: np.ndarray, targets: np.ndarray, table: Table) -> float:
    """With the lowest NLL: of probabilities `p ** (1 / T)`, normalized, or of the variance times T."""
    if table.classes:
        return khe.calibration.fit_temperature(predicted, targets)
    return float((np.square(targets - predicted[:, 0]) / predicted[:, 1]).mean())


def tempered(predicted: np.ndarray, temperature: float, table: Table) -> np.ndarray:
    if not table.classes:
        return predicted * np.array([1.0, temperature])
    logits = np.log(np.maximum(predicted, 1e-12)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
