"""What the greedy selection is given for the outputs of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_hyperens.heads import BERNOULLI
from keras_hyperens.heads import CATEGORICAL
from keras_hyperens.models.compiled_loss import CompiledLoss
from keras_hyperens.output_heads import is_of_values
from keras_hyperens.search.classes import is_one_hot
from keras_hyperens.search.scores import SCORES


@dataclass(frozen=True)
class Target:
    """What an output should be.

    Attributes:
        labels: As the loss takes them.
        loss: With which the hypermodel compiles this output, or `None`.
        weights: Of samples, or `None`.
        name: Of the output, if there are several.
    """

    labels: np.ndarray
    loss: Any = None
    weights: np.ndarray | None = None
    name: str = ""


def as_problem(
    predictions: Sequence[Sequence[np.ndarray]], targets: Sequence[Target], heads: Sequence[Any], metric: Any
) -> dict[str, Any]:
    """Arguments of `greedy_selection`.

    Args:
        predictions: Of each candidate, an array `[N, ..., C]` for each output.
        targets: One for each output.
        heads: What each output means.
        metric: Of `greedy_selection`; `"loss"`: the compiled one; or `"auto"`, see `auto_metric`. For several outputs
            also a dictionary of these, by name.

    Raises:
        ValueError: If there is not one target, or not one metric, for each output.
    """
    if len(targets) != len(heads):
        raise ValueError(f"There must be labels for each of {len(heads)} outputs. Received: labels for {len(targets)}")
    metrics = metric if isinstance(metric, dict) else {target.name: metric for target in targets}
    names = [target.name for target in targets]
    if not set(names) <= set(metrics):
        raise ValueError(f"`metric` must have one for each of the outputs {names}. Received: metric={metric!r}")
    outputs = [
        _output([candidate[number] for candidate in predictions], target, head, metrics[target.name])
        for number, (target, head) in enumerate(zip(targets, heads))
    ]
    if len(outputs) == 1:
        return outputs[0]
    return {key: {str(number): output[key] for number, output in enumerate(outputs)} for key in outputs[0]}


def auto_metric(head: Any, labels: np.ndarray, shape: tuple[int, ...], loss: Any) -> str:
    """`"nll"` for classes, `"mse"` for values, and `"loss"` for labels that are neither: soft ones, Gaussians, ...

    Args:
        head: What the output means.
        labels: Of the output.
        shape: Of its predictions.
        loss: With which it was compiled.
    """
    if loss is None:
        return "nll" if head in (*CATEGORICAL, *BERNOULLI) else "mse"
    if head == "gaussian":
        return "loss"
    if head in CATEGORICAL:
        is_soft = labels.shape == shape and shape[-1] > 1 and not is_one_hot(labels)
        return "loss" if is_soft or labels.shape not in (shape, shape[:-1], (*shape[:-1], 1)) else "nll"
    if head in BERNOULLI:
        return "nll" if np.isin(labels, (0, 1)).all() or labels.min() < 0 or labels.max() > 1 else "loss"
    return "mse" if is_of_values(loss) or labels.size == np.prod(shape) else "loss"


def _output(predictions: list[np.ndarray], target: Target, head: Any, metric: Any) -> dict[str, Any]:
    if predictions[0].ndim == 1:
        predictions = [each[:, None] for each in predictions]
    shape = predictions[0].shape
    if isinstance(metric, str) and metric == "auto":
        metric = auto_metric(head, target.labels, shape, target.loss)
    if metric == "loss" or (head == "gaussian" and metric == "nll"):
        return _of_loss(predictions, target, head)
    if head == "gaussian":
        predictions = [each[..., : shape[-1] // 2] for each in predictions]  # their means
    return _of_rows(predictions, *_without_ignored(target), head, metric)


def _of_loss(predictions: list[np.ndarray], target: Target, head: Any) -> dict[str, Any]:
    if target.loss is None:
        raise ValueError('`metric="loss"` needs a compiled loss for each output. Received: an output without one')
    score = CompiledLoss(target.loss, head, target.labels, target.weights, predictions[0].shape)
    rows = np.arange(len(predictions[0]))
    columns = [score.columns_of(each) for each in predictions]
    return {"predictions": columns, "labels": rows, "metric": score, "sample_weight": None}


def _of_rows(predictions: list[np.ndarray], labels: np.ndarray, weights: Any, head: Any, metric: Any) -> dict[str, Any]:
    shape = predictions[0].shape
    if head in BERNOULLI and metric in SCORES and metric != "mse" and labels.size == np.prod(shape):
        predictions = [each.reshape(*shape, 1) for each in predictions]  # many yes-or-no questions
        labels = labels.reshape(shape)
    return {"predictions": predictions, "labels": labels, "metric": metric, "sample_weight": weights}


def _without_ignored(target: Target) -> tuple[np.ndarray, Any]:
    """Labels and weights; labels that the loss ignores have no weight."""
    ignored = getattr(target.loss, "ignore_class", None)
    if ignored is None:
        return target.labels, target.weights
    labels = target.labels
    is_read = labels != ignored
    if target.weights is not None:
        missing = labels.ndim - target.weights.ndim
        is_read = is_read * target.weights.reshape(target.weights.shape + (1,) * missing)
    return np.where(labels == ignored, 0, labels), is_read.astype("float64")
