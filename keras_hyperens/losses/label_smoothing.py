"""Cross-entropy with member-specific label smoothing."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.losses.hyperparameter_loss import HyperparameterLoss
from keras_hyperens.losses.hyperparameter_loss import as_loss
from keras_hyperens.losses.hyperparameter_loss import checked_setting
from keras_hyperens.losses.hyperparameter_loss import value_beside
from keras_hyperens.masks import with_mask
from keras_hyperens.types import Loss
from keras_hyperens.types import Tensor

CATEGORICAL = (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy)
CROSS_ENTROPIES = (*CATEGORICAL, keras.losses.BinaryCrossentropy)


def without_smoothing(loss: Loss) -> Loss:
    """Returns the loss without fixed label smoothing."""
    smooths = isinstance(loss, keras.losses.Loss) and getattr(loss, "label_smoothing", None)
    if not smooths or isinstance(loss, LabelSmoothing):
        return loss
    return type(loss).from_config({**loss.get_config(), "label_smoothing": 0.0})


@keras.saving.register_keras_serializable("keras_hyperens")
class LabelSmoothing(HyperparameterLoss):
    """Cross-entropy with label smoothing controlled by a hyperparameter.

    In training, with C classes, `y -> (1 - a) y + a / C` with the value a of the member (C = 2 for a binary
    cross-entropy). Tuning and evaluation use the labels without smoothing.

    Args:
        loss: `CategoricalCrossentropy`, `SparseCategoricalCrossentropy` or `BinaryCrossentropy`: an object or a name.
        label_smoothing: Name of a hyperparameter, or a tuple `(name, factor)`.
        name: Name of the loss.

    Raises:
        ValueError: If the loss is of another class, or `label_smoothing` is not a name.

    Example:
    >>> import keras
    >>> loss = LabelSmoothing(keras.losses.SparseCategoricalCrossentropy(from_logits=True), "smoothing")
    >>> round(float(loss(keras.ops.array([0]), keras.ops.array([[0.0, 0.0]]))), 4)
    0.6931

    References:
        - Szegedy et al., [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567), section 7
    """

    def __init__(self, loss: Loss, label_smoothing: Setting, name: str | None = None) -> None:
        loss = as_loss(loss)
        if not isinstance(loss, CROSS_ENTROPIES):
            raise ValueError(f"Label smoothing needs a cross-entropy. Received: loss={loss!r}")
        loss = without_smoothing(loss)
        driven = checked_setting("label_smoothing", label_smoothing)
        super().__init__(self._smoothed, loss, [str(driven.name)], name or loss.name)
        self.label_smoothing = driven.setting

    def _smoothed(self, y_true: Tensor, y_pred: Tensor, hyperparameters: Mapping[str, Any]) -> Tensor:
        config, y_pred = self.evaluation_loss.get_config(), ops.convert_to_tensor(y_pred)
        smoothing = value_beside(self.label_smoothing, hyperparameters, len(y_pred.shape))
        axis = config.get("axis", -1)
        if not isinstance(self.evaluation_loss, CATEGORICAL):
            y_true = (1 - smoothing) * ops.cast(y_true, y_pred.dtype) + smoothing / 2
            return keras.losses.binary_crossentropy(y_true, y_pred, config["from_logits"], axis=axis)
        if isinstance(self.evaluation_loss, keras.losses.SparseCategoricalCrossentropy):
            return self._sparse(y_true, y_pred, smoothing, config)
        y_true = (1 - smoothing) * ops.cast(y_true, y_pred.dtype) + smoothing / y_pred.shape[axis]
        return keras.losses.categorical_crossentropy(y_true, y_pred, config["from_logits"], axis=axis)

    def _sparse(self, y_true: Tensor, y_pred: Tensor, smoothing: Tensor, config: dict[str, Any]) -> Tensor:
        classes, ignored = y_pred.shape[-1], config.get("ignore_class")
        y_true = ops.reshape(ops.cast(y_true, "int32"), ops.shape(y_pred)[:-1])
        one_hot = (1 - smoothing) * ops.one_hot(y_true, classes, dtype=y_pred.dtype) + smoothing / classes
        losses = keras.losses.categorical_crossentropy(one_hot, y_pred, config["from_logits"])
        counts = None if ignored is None else y_true != ignored
        return losses if counts is None else with_mask(ops.where(counts, losses, 0.0), counts)

    def get_config(self) -> dict[str, Any]:
        return {
            "loss": keras.saving.serialize_keras_object(self.evaluation_loss),
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }
