"""Compile arguments of a Keras model for its ensemble."""

from typing import Any

import keras

from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.losses import LabelSmoothing
from keras_hyperens.losses import WeightedLoss
from keras_hyperens.losses.hyperparameter_loss import as_loss
from keras_hyperens.losses.label_smoothing import CROSS_ENTROPIES
from keras_hyperens.types import MetricTree

Place = tuple[str, Any]  # part of a loss and its output: a key of the structure, `None` if there is one output


def loss_numbers(model: keras.Model) -> dict[Place, float]:
    """Returns the values of a compiled loss that can vary between members: label smoothing and loss weights."""
    numbers: dict[Place, float] = {}
    for key, loss in _items(getattr(model, "loss", None)):
        if loss is not None and isinstance(as_loss(loss), CROSS_ENTROPIES):
            numbers["label_smoothing", key] = float(as_loss(loss).get_config().get("label_smoothing", 0.0))
    weights = compile_arguments_of(model).get("loss_weights")
    for key, weight in _items(weights):
        numbers["loss_weights", key] = 1.0 if weight is None else float(weight)
    return numbers


def compile_arguments(model: keras.Model, driven: dict[Place, Setting], numbers: dict[Place, float]) -> dict[str, Any]:
    """Returns arguments of `HyperBatchEnsemble.compile` for a compiled model, with new objects.

    Args:
        model: A compiled model.
        driven: Settings of its loss that are hyperparameters.
        numbers: `loss_numbers` of the model.
    """
    config = compile_arguments_of(model)
    loss, weights = model.loss, config.get("loss_weights")
    for place, setting in driven.items():
        if place[0] == "label_smoothing":
            loss = _replaced(loss, place[1], lambda each, setting=setting: LabelSmoothing(each, setting))
    for place, setting in driven.items():
        if place[0] == "loss_weights":
            number = numbers[place]
            loss = _replaced(
                loss, place[1], lambda each, setting=setting, number=number: WeightedLoss(each, setting, number)
            )
            weights = _replaced(weights, place[1], lambda _: 1.0)
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    passed: dict[str, Any] = {
        name: config[name] for name in ("steps_per_execution", "jit_compile", "run_eagerly") if name in config
    }
    metrics = {name: fresh_metrics(config.get(name)) for name in ("metrics", "weighted_metrics")}
    return {"optimizer": optimizer, "loss": loss, "loss_weights": weights, **metrics, **passed}


def compile_arguments_of(model: keras.Model) -> dict[str, Any]:
    """Returns the original objects of a model's `compile`, which need not be registered."""
    return dict(getattr(getattr(model, "_compile_config", None), "config", {}))


def recompiling_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns arguments to compile another model like this one, with its own optimizer and metrics."""
    arguments = compile_arguments_of(model)
    optimizer = arguments.get("optimizer")
    if isinstance(optimizer, keras.optimizers.Optimizer):
        arguments["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    return arguments | {name: fresh_metrics(arguments.get(name)) for name in ("metrics", "weighted_metrics")}


def fresh_metrics(metrics: MetricTree) -> MetricTree:
    """Returns new metrics, for probabilities instead of logits, because an ensemble predicts probabilities."""

    def fresh(metric: Any) -> Any:
        if not isinstance(metric, keras.metrics.Metric):
            return metric  # a name or a function
        try:
            return type(metric).from_config(_of_probabilities(metric.get_config()))
        except Exception:  # Keras cannot copy it, so both share it
            return metric

    return keras.tree.map_structure(fresh, metrics)


def _of_probabilities(config: Any) -> Any:
    if isinstance(config, dict):
        raw = ("from_logits", "from_log_scale")
        return {name: False if name in raw else _of_probabilities(each) for name, each in config.items()}
    return [_of_probabilities(each) for each in config] if isinstance(config, list | tuple) else config


def _items(structure: Any) -> list[tuple[Any, Any]]:
    if isinstance(structure, dict):
        return list(structure.items())
    if isinstance(structure, list | tuple):
        return list(enumerate(structure))
    return [] if structure is None else [(None, structure)]


def _replaced(structure: Any, key: Any, change: Any) -> Any:
    if key is None:
        return change(structure)
    structure = dict(structure) if isinstance(structure, dict) else list(structure)
    structure[key] = change(structure[key])
    return structure
