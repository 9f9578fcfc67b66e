"""Value outputs: of a regression, or without information from a loss or an activation."""

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
    """Values without transformation; members are averaged, and a temperature has no effect."""

    losses = frozenset(  # values for any last activation
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
            "Only probabilities and Gaussians can be calibrated: compile with a loss that implies the kind of outputs, "
            "or set `output_activation`. Received: an output of values"
        )

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
        has_as_many = labels.size == np.prod(shape)
        return "mse" if loss is None or self.is_implied_by(loss) or has_as_many else "loss"

    def band(self, prediction: Any, num_targets: int) -> tuple[Any, Any, Any]:
        return prediction, prediction, ops.ones_like(prediction)

    def neutral(self, width: int) -> np.ndarray:
        return np.zeros(width, "float32")
