"""Losses that depend on the hyperparameters of the current member."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_hyperens.checks import is_number
from keras_hyperens.hyperparameters.driven import Driven
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.hyperparameters.scope import current_member
from keras_hyperens.types import Loss
from keras_hyperens.types import LossTree
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperparameterLoss(keras.losses.Loss):
    """Loss that depends on the hyperparameters of the current member.

    In training the loss is `function(y_true, y_pred, values)`. For tuning and evaluation it is `evaluation_loss`:
    hyperparameters tuned on a loss that depends on them would only minimize that loss.

    Args:
        function: Takes labels `[B, ...]`, raw outputs of one member `[B, ...]` and its values by name (a dictionary of
            tensors of shape `[1]`, or `[B]` with one draw per sample) and returns losses `[B, ...]`.
        evaluation_loss: A Keras loss: an object, a name or a function.
        names: Names of the hyperparameters that the function uses, for early detection of unknown names.
        name: Name of the loss.

    Raises:
        TypeError: If `function` is not callable.

    Example:
    >>> import keras
    >>> def robust(y_true, y_pred, values):
    ...     return keras.ops.minimum(keras.ops.abs(y_true - y_pred)[:, 0], values["threshold"])
    >>> loss = HyperparameterLoss(robust, "mean_absolute_error", names=["threshold"])
    >>> float(loss([[1.0]], [[3.0]]))  # outside the training of a member
    2.0
    """

    def __init__(
        self,
        function: Callable[[Any, Any, Mapping[str, Any]], Any],
        evaluation_loss: Loss,
        names: Iterable[str] = (),
        name: str | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"`function` must be callable. Received: function={function!r}")
        super().__init__(name=name)
        self.function = function
        self.evaluation_loss = as_loss(evaluation_loss)
        self.names = tuple(names)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        values = current_member()
        if values is None:
            return self.evaluation_loss.call(y_true, y_pred)
        return self.function(y_true, y_pred, values)

    def get_config(self) -> dict[str, Any]:
        return {
            "function": keras.saving.serialize_keras_object(self.function),
            "evaluation_loss": keras.saving.serialize_keras_object(self.evaluation_loss),
            "names": list(self.names),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HyperparameterLoss":
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def as_loss(loss: Loss) -> keras.losses.Loss:
    """Returns a loss object for a name, a function or an object; the values of a function are averaged as in Keras."""
    loss = keras.losses.get(loss)
    if loss is None:
        raise ValueError("A loss is needed: an object, a name or a function. Received: loss=None")
    if isinstance(loss, keras.losses.Loss):
        return loss
    name = getattr(loss, "__name__", "")
    known = getattr(keras.losses, "".join(map(str.title, name.split("_"))), None)
    if known is not None and loss is getattr(keras.losses, name, None):  # Keras functions have a class, too
        return known()
    return _FunctionLoss(loss)


@keras.saving.register_keras_serializable("keras_hyperens")
class _FunctionLoss(keras.losses.Loss):
    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None) -> None:
        super().__init__(name=name or getattr(function, "__name__", None))
        self.function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"function": keras.saving.serialize_keras_object(self.function), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_FunctionLoss":
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})


def checked_setting(argument: str, setting: Setting) -> Driven:
    """Parses an argument of a loss; raises a `ValueError` unless it is a hyperparameter or a multiple of one."""
    driven = Driven.of(setting)
    if not (isinstance(driven.name, str) and driven.name and is_number(driven.factor) and driven.factor > 0):
        raise ValueError(
            f"`{argument}` must be a hyperparameter's name, or a name and a positive factor. "
            f"Received: {argument}={setting!r}"
        )
    return driven


def value_beside(setting: Setting, values: Mapping[str, Any], rank: int) -> Tensor:
    """Returns the value of a setting, `[1 or B]`, broadcastable to an array `[B, ...]` of this rank."""
    return ops.reshape(Driven.of(setting).value(values), (-1, *[1] * (rank - 1)))


def used_by(losses: LossTree) -> set[str]:
    """Returns the names of the hyperparameters that a structure of losses uses."""
    return {name for loss in keras.tree.flatten(losses) if isinstance(loss, HyperparameterLoss) for name in loss.names}
