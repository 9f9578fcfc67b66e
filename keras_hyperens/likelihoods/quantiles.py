"""Quantile outputs: D quantiles of the lowest level, then D of each higher level."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_hyperens.likelihoods.value import Value


@dataclass(frozen=True)
class Quantiles(Value):
    """Quantiles of D targets at L levels, `[..., L * D]`; members are averaged per level."""

    losses = frozenset({"Quantile"})
    description = "quantiles"
    multi_label = False
    conformal_methods = ("quantile",)

    @property
    def name(self) -> str:
        return "quantiles"

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Any) -> str:
        return "loss"

    def num_targets(self, labels: np.ndarray, shape: tuple[int, ...]) -> int:
        rows = int(np.prod(shape[:-1]))
        number, rest = divmod(labels.size, rows)
        if rest or not number or shape[-1] % number or shape[-1] < 2 * number:
            raise ValueError(
                "Quantiles of at least two levels are required for every label. "
                f"Received: labels of shape {labels.shape}, quantiles of shape {shape}"
            )
        return number

    def band(self, prediction: Any, num_targets: int) -> tuple[Any, Any, Any]:
        lower, upper = prediction[..., :num_targets], prediction[..., -num_targets:]
        _, _, scale = super().band(lower, num_targets)
        return lower, upper, scale
