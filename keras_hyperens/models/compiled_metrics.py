"""Compiled metrics of ensembles: checks, and options that follow from the outputs."""

from typing import Any

import keras

from keras_hyperens.likelihoods import ignored_classes
from keras_hyperens.likelihoods import of_losses
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import LossTree
from keras_hyperens.types import MetricTree


def check_metrics(metrics: tuple[Any, Any, Any], likelihoods: LikelihoodTree) -> None:
    """Checks `(metrics, weighted_metrics, member_metrics)`.

    Metrics receive predictions, so metrics of logits would be wrong; member metrics must be objects.
    """
    for metric in keras.tree.flatten(metrics[-1]):
        if not isinstance(metric, keras.metrics.Metric | None):
            raise TypeError(
                "`member_metrics` must be metric objects, for example `keras.metrics.SparseCategoricalAccuracy()`. "
                f"Received: {metric!r}"
            )
    makes_probabilities = any(likelihood.from_logits for likelihood in keras.tree.flatten(likelihoods))
    for metric in keras.tree.flatten(metrics):
        if getattr(metric, "from_log_scale", False):
            raise ValueError(
                "Metrics of Gaussians receive means and variances (as `predict` returns): use `from_log_scale=False`. "
                f"Received: metric {metric.name!r} with from_log_scale=True"
            )
        if makes_probabilities and getattr(metric, "from_logits", False):
            raise ValueError(
                "Metrics receive probabilities (as `predict` returns), so they must not expect logits: use "
                f"`from_logits=False`. Received: metric {metric.name!r} with from_logits=True"
            )


def tell_metrics(
    metrics: tuple[Any, ...], likelihoods: LikelihoodTree, loss: LossTree, output_names: list[str] | None
) -> None:
    """Sets in metrics of this package whether an output has several labels, and which class its loss ignores.

    Args:
        metrics: Structures of metrics as in `compile`.
        likelihoods: One for all outputs, or one per output by name or position.
        loss: Compiled losses, in such a structure.
        output_names: Names of the outputs, in order.
    """
    for structure in metrics:
        for metric, ignore_class in _beside(structure, ignored_classes(loss), output_names):
            metric._tell(ignore_class=ignore_class)
        for setting in (likelihoods, of_losses(loss)):
            for metric, likelihood in _beside(structure, setting, output_names):
                metric._tell(multi_label=None if likelihood is None else likelihood.multi_label)


def _beside(metrics: MetricTree, setting: Any, output_names: list[str] | None) -> list[tuple[Any, Any]]:
    """Returns each metric with such options, with the setting of its output, if it is unique."""
    if isinstance(setting, dict | list | tuple) and len(setting) == 1:
        (setting,) = setting.values() if isinstance(setting, dict) else setting
    if not isinstance(setting, dict | list | tuple):
        return [(metric, setting) for metric in keras.tree.flatten(metrics) if hasattr(metric, "_tell")]
    by_name = setting if isinstance(setting, dict) else dict(zip(output_names or (), setting))
    if isinstance(metrics, list | tuple):
        metrics = dict(zip(by_name if output_names is None else output_names, metrics))
    parts = (metrics or {}).items()
    return [pair for name, part in parts for pair in _beside(part, by_name.get(name), None)]
