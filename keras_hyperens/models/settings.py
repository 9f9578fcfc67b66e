"""What `compile` settles beyond Keras' own arguments."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number
from keras_hyperens.likelihoods import ignored_classes
from keras_hyperens.likelihoods import of_losses

CHOICES = {
    "member_loss": ("member", "ensemble"),
    "tuning_loss": ("ensemble", "member"),
    "sampling": ("member", "example"),
}
MEMBER_ROWS = ("distinct", "same", "split")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train and tune; see `HyperBatchEnsemble.compile`."""

    member_loss: str
    tuning_loss: str
    sampling: str
    tuning_every: int
    tuning_warmup: int
    entropy_weight: float
    fast_weight_learning_rate: float
    member_rows: str | int | None
    tune_temperature: bool

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={getattr(self, name)!r}")
        for name, lowest in (("tuning_every", 1), ("tuning_warmup", 0)):
            value = getattr(self, name)
            if not is_integer(value) or value < lowest:
                raise ValueError(f"`{name}` must be an integer of at least {lowest}. Received: {name}={value!r}")
        for name in ("entropy_weight", "fast_weight_learning_rate"):
            value = getattr(self, name)
            if not (is_number(value) and value >= 0):
                raise ValueError(f"`{name}` must be a finite number of at least 0. Received: {name}={value!r}")
        if not isinstance(self.tune_temperature, bool):
            raise TypeError(
                f"`tune_temperature` must be True or False. Received: tune_temperature={self.tune_temperature!r}"
            )
        self._check_member_rows()

    def _check_member_rows(self) -> None:
        rows = self.member_rows
        is_lag = is_integer(rows) and rows > 0
        if rows is not None and rows not in MEMBER_ROWS and not is_lag:
            raise ValueError(
                f"`member_rows` must be one of {MEMBER_ROWS} or a positive number of steps. "
                f"Received: member_rows={rows!r}"
            )
        if self.member_loss == "ensemble" and rows not in (None, "same"):
            raise ValueError(
                'The loss of the combined prediction needs the same samples for all members: use member_rows="same" '
                f'with member_loss="ensemble". Received: member_rows={rows!r}'
            )

    @property
    def lag(self) -> int | None:
        """Steps from the batch of one member to that of the next, or `None`: not from other steps."""
        if is_integer(self.member_rows):
            return int(self.member_rows)
        is_distinct = self.member_rows == "distinct" or (self.member_rows is None and self.member_loss == "member")
        return 1 if is_distinct else None


def check_metrics(metrics: tuple[Any, Any, Any], likelihoods: Any) -> None:
    """Checks `(metrics, weighted_metrics, member_metrics)`.

    Metrics get predictions, so one that expects logits would be silently wrong; member metrics must be objects.
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
                "Metrics of Gaussians get means and variances (what `predict` gives): use `from_log_scale=False`. "
                f"Received: metric {metric.name!r} with from_log_scale=True"
            )
        if makes_probabilities and getattr(metric, "from_logits", False):
            raise ValueError(
                "Metrics get probabilities (what `predict` gives), so they must not expect logits: use "
                f"`from_logits=False`. Received: metric {metric.name!r} with from_logits=True"
            )


def tell_metrics(metrics: tuple[Any, ...], likelihoods: Any, loss: Any, output_names: list[str] | None) -> None:
    """Tells metrics of this package whether an output has several labels, and which class its loss ignores.

    Args:
        metrics: Structures of metrics as `compile` takes them.
        likelihoods: Of all outputs, or of each by name or by position.
        loss: The compiled losses, in such a structure too.
        output_names: Of the outputs, in order.
    """
    for structure in metrics:
        for metric, ignore_class in _beside(structure, ignored_classes(loss), output_names):
            metric._tell(ignore_class=ignore_class)
        for setting in (likelihoods, of_losses(loss)):
            for metric, likelihood in _beside(structure, setting, output_names):
                metric._tell(multi_label=None if likelihood is None else likelihood.multi_label)


def _beside(metrics: Any, setting: Any, output_names: list[str] | None) -> list[tuple[Any, Any]]:
    """Each metric that can be told something, beside the setting of its output, where that is clear."""
    if isinstance(setting, dict | list | tuple) and len(setting) == 1:
        (setting,) = setting.values() if isinstance(setting, dict) else setting
    if not isinstance(setting, dict | list | tuple):
        return [(metric, setting) for metric in keras.tree.flatten(metrics) if hasattr(metric, "_tell")]
    by_name = setting if isinstance(setting, dict) else dict(zip(output_names or (), setting))
    if isinstance(metrics, list | tuple):
        metrics = dict(zip(by_name if output_names is None else output_names, metrics))
    parts = (metrics or {}).items()
    return [pair for name, part in parts for pair in _beside(part, by_name.get(name), None)]
