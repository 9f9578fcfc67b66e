"""What the greedy selection is given for the outputs of candidates."""

from collections.abc import Sequence
from typing import Any

import numpy as np

CLASSES = ("softmax", "categorical", "sigmoid", "bernoulli")


def as_problem(
    predictions: Sequence[Sequence[np.ndarray]], labels: Sequence[np.ndarray], heads: Sequence[Any], metric: Any
) -> dict[str, Any]:
    """Arguments of `greedy_selection`.

    Args:
        predictions: Of each candidate, an array `[N, ..., C]` for each output.
        labels: For each output.
        heads: What each output means.
        metric: Of `greedy_selection`, or `"auto"`: `"nll"` for outputs that are probabilities, else `"mse"`.

    Raises:
        ValueError: If there is not one array of labels for each output.
    """
    if len(labels) != len(heads):
        raise ValueError(f"There must be labels for each of {len(heads)} outputs. Received: labels for {len(labels)}")
    outputs = [
        _output([candidate[number] for candidate in predictions], labels[number], head, metric)
        for number, head in enumerate(heads)
    ]
    if len(outputs) == 1:
        return outputs[0]
    keys = ("predictions", "labels", "metric")
    return {key: {str(number): output[key] for number, output in enumerate(outputs)} for key in keys}


def _output(predictions: list[np.ndarray], labels: np.ndarray, head: Any, metric: Any) -> dict[str, Any]:
    if metric == "auto":
        metric = "nll" if head in CLASSES else "mse"
    if predictions[0].ndim == 1:
        predictions = [each[:, None] for each in predictions]
    if head in ("sigmoid", "bernoulli") and metric != "mse" and labels.shape == predictions[0].shape:
        predictions = [each.reshape(-1, 1) for each in predictions]  # many yes-or-no questions
        labels = labels.reshape(-1, 1)
    return {"predictions": predictions, "labels": labels, "metric": metric}
