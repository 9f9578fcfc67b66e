"""The weight of a term of a loss, of each member's own."""

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
    """A loss times a hyperparameter: how much one of several outputs counts for a member.

    `HyperBatchEnsemble.compile(loss_weights={"boxes": "box_weight"})` makes one of these.

    Args:
        loss: A Keras loss: an object, a name, a function, or one that varies with hyperparameters itself.
        weight: A hyperparameter's name, or that and a factor.
        evaluation_weight: The weight where hyperparameters are tuned and where the model is evaluated: one for all
            members, because a weight that was tuned on a loss with itself inside would just fall.
        name: Of the loss.

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
        """Losses and weights of several outputs with every hyperparameter among the weights made part of its loss.

        Args:
            losses, weights: As in `keras.Model.compile`; weights may be names, or names and factors, too.
            space: Of the hyperparameters; the weights where they are tuned are in the middle of each range.

        Raises:
            ValueError: If losses and weights are not in the same structure, or a name is unknown.
        """
        keys = weights.keys() if isinstance(weights, dict) else range(len(weights or ()))
        varied = [key for key in keys if isinstance(weights[key], str | tuple)]
        if not varied:
            return losses, weights
        if type(losses) is not type(weights):
            raise ValueError(
                "Losses and `loss_weights` that hyperparameters drive must both be lists, or both dictionaries. "
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
        losses = self.evaluation_loss.call(y_true, y_pred)  # still that of the member
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
