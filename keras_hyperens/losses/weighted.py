"""Member-specific weight of a loss term."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters.driven import Driven
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.hyperparameters.scope import current_member
from keras_hyperens.losses.hyperparameter_loss import HyperparameterLoss
from keras_hyperens.losses.hyperparameter_loss import as_loss
from keras_hyperens.losses.hyperparameter_loss import checked_setting
from keras_hyperens.losses.hyperparameter_loss import used_by
from keras_hyperens.losses.hyperparameter_loss import value_beside
from keras_hyperens.masks import mapped
from keras_hyperens.types import Loss
from keras_hyperens.types import LossTree
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class WeightedLoss(HyperparameterLoss):
    """Loss multiplied by a hyperparameter: the member-specific weight of one of several outputs.

    `HyperBatchEnsemble.compile(loss_weights={"boxes": "box_weight"})` creates this loss.

    Args:
        loss: A Keras loss: an object, a name, a function, or a loss that depends on hyperparameters.
        weight: Name of a hyperparameter, or a tuple `(name, factor)`.
        evaluation_weight: Weight for tuning and evaluation, equal for all members, because tuning would otherwise
            reduce the weight to reduce the loss.
        name: Name of the loss.

    Example:
    >>> loss = WeightedLoss("mean_squared_error", "weight", evaluation_weight=0.5)
    >>> float(loss([[1.0]], [[3.0]]))
    2.0
    """

    def __init__(self, loss: Loss, weight: Setting, evaluation_weight: float = 1.0, name: str | None = None) -> None:
        loss = as_loss(loss)
        driven = checked_setting("weight", weight)
        super().__init__(self._weighted, loss, used_by(loss) | {str(driven.name)}, name or loss.name)
        self.weight = driven.setting
        self.evaluation_weight = float(evaluation_weight)

    @classmethod
    def _of_outputs(cls, losses: LossTree, weights: Any, space: HyperparameterSpace) -> tuple[Any, Any]:
        """Returns losses and weights of several outputs, with hyperparameters among the weights moved to the losses.

        Args:
            losses, weights: As in `keras.Model.compile`; weights may also be names, or tuples `(name, factor)`.
            space: Space of the hyperparameters; for tuning, the weights are the middle of each range.

        Raises:
            ValueError: If losses and weights have different structures, or a name is unknown.
        """
        keys = weights.keys() if isinstance(weights, dict) else range(len(weights or ()))
        varied = [key for key in keys if isinstance(weights[key], str | tuple)]
        if not varied:
            return losses, weights
        if type(losses) is not type(weights):
            raise ValueError(
                "Losses and `loss_weights` with hyperparameters must both be lists, or both dictionaries. "
                f"Received: loss={losses!r}, loss_weights={weights!r}"
            )
        losses, weights = losses.copy(), weights.copy()
        for key in varied:
            driven = Driven.of(weights[key])
            if driven.name not in space.names:
                raise ValueError(f"A weight must be a number or one of {list(space.names)}. Received: {driven.name!r}")
            middle = float(space.values(np.zeros(len(space)))[space.column(driven.name)])
            losses[key] = cls(losses[key], driven.setting, driven.factor * middle)
            weights[key] = 1.0
        return losses, weights

    def _weighted(self, y_true: Tensor, y_pred: Tensor, hyperparameters: Mapping[str, Any]) -> Tensor:
        losses = self.evaluation_loss.call(y_true, y_pred)  # of the member, without the weight
        weight = value_beside(self.weight, hyperparameters, len(losses.shape))
        return mapped(lambda each: weight * each, losses)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if current_member() is None:
            return mapped(lambda each: self.evaluation_weight * each, self.evaluation_loss.call(y_true, y_pred))
        return super().call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {
            "loss": keras.saving.serialize_keras_object(self.evaluation_loss),
            "weight": self.weight,
            "evaluation_weight": self.evaluation_weight,
            "name": self.name,
        }
