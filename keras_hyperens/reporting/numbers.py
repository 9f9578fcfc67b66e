"""Scores of the ensemble and of its members."""

from typing import Any

import numpy as np

from keras_hyperens import metrics

SCORES = {
    "accuracy": "accuracy",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE",
    "aurc": "AURC",
}


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Returns the scores of predictions `[N, C]`; all except the accuracy are better when lower."""
    found = {"accuracy": float((probabilities.argmax(-1) == labels).mean())}
    for metric in (
        metrics.NegativeLogLikelihood(),
        metrics.BrierScore(),
        metrics.ExpectedCalibrationError(),
        metrics.AreaUnderRiskCoverage(),
    ):
        metric.update_state(labels, probabilities)
        found[metric.name] = float(metric.result())
    return found


def accuracy_of_the_surest(labels: np.ndarray, probabilities: np.ndarray, coverage: float) -> float:
    """Returns the accuracy on the fraction `coverage` of samples with the highest confidence."""
    metric = metrics.SelectiveAccuracy(coverage)
    metric.update_state(labels, probabilities)
    return float(metric.result())


def auroc(usual: np.ndarray, unusual: np.ndarray) -> float:
    """Returns how well a measure separates out-of-distribution samples: 0.5 is chance, 1 is perfect."""
    metric = metrics.OutOfDistributionAUROC(measure=None)
    flags = np.repeat([0, -1], [len(usual), len(unusual)])
    metric.update_state(flags, np.concatenate([usual, unusual]))
    return float(metric.result())


def checked_rows(members: Any, labels: Any) -> np.ndarray:
    """Returns labels as classes `[N]`.

    Raises:
        ValueError: If labels are not one of C classes per sample.
    """
    labels = np.asarray(labels)
    shape = members.shape[1:]
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"Labels must be numbers: encode strings as 0, 1, ... Received: dtype={labels.dtype}")
    if labels.shape == shape and shape[-1] > 1:
        if not np.isin(labels, (0, 1)).all() or (labels.sum(-1) != 1).any():
            raise ValueError("A report needs classes, or one-hot labels. Received: soft or multiple labels per sample")
        labels = labels.argmax(-1)
    labels = labels.reshape(len(labels), -1)[:, 0] if labels.ndim == 2 and labels.shape[-1] == 1 else labels
    if labels.shape != shape[:1] or not len(labels):
        raise ValueError(f"A report needs one class per sample. Received: labels {labels.shape}, predictions {shape}")
    if labels.min() < 0 or labels.max() >= shape[-1]:
        raise ValueError(f"Labels must be in [0, {shape[-1]}). Received: from {labels.min()} to {labels.max()}")
    return labels.astype(int)
