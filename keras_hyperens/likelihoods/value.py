"""Outputs that are plain values: of a regression, or of whatever neither a loss nor an activation says more about."""

from dataclasses import dataclass
from typing import Any
from typing import ClassVar

import numpy as np
from keras import ops

from keras_hyperens.likelihoods.likelihood import Likelihood
from keras_hyperens.types import Loss
from keras_hyperens.uncertainty import by_kind


@dataclass(frozen=True)
class Value(Likelihood):
    """Values as they are; members are averaged, and there is nothing that a temperature could change."""

    losses = frozenset(  # of plain values, whatever the last activation is
        """MeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredLogarithmicError Huber LogCosh
        Logcosh Poisson CosineSimilarity Hinge SquaredHinge CategoricalHinge
        mse mae mape msle MSE MAE MAPE MSLE""".split()
    )
    description = "values"
    measures = by_kind.OF_VALUES
    default_measures = ("variance",)
    has_temperature = False
    multi_label: ClassVar[bool | None] = None

    @property
    def name(self) -> str | None:
        return None

    def fit_temperature(
        self, prediction: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior_rows: float = 0.0
    ) -> float:
        raise ValueError(
            "Only probabilities and Gaussians can be calibrated: compile with a loss that says what the outputs are, "
            "or give `output_activation`. Received: an output of values"
        )

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
        has_as_many = labels.size == np.prod(shape)
        return "mse" if loss is None or self.is_implied_by(loss) or has_as_many else "loss"

    def band(self, prediction: Any, num_targets: int) -> tuple[Any, Any, Any]:
        return prediction, prediction, ops.ones_like(prediction)

    def neutral(self, width: int) -> np.ndarray:
        return np.zeros(width, "float32")
