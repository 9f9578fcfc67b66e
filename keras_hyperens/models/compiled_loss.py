"""Compiled losses without penalties, and as a score of combined predictions."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.losses.hyperparameter_loss import as_loss
from keras_hyperens.losses.label_smoothing import without_smoothing
from keras_hyperens.models.network import unused_hyperparameters
from keras_hyperens.sample_weights import checked_weights
from keras_hyperens.types import Loss
from keras_hyperens.types import LossTree
from keras_hyperens.types import Tensor


class CompiledLoss:
    """Compiled loss of predictions, for `greedy_selection`: lower is better.

    The selection only knows indices and columns: its labels are the indices of samples, its predictions `[N, columns]`.

    Args:
        loss: A Keras loss: an object, a name or a function.
        likelihood: Likelihood of the output; a loss that takes logits gets the logarithms of probabilities.
        labels: Labels as the loss takes them.
        weights: Sample weights, or `None`.
        shape: Shape of the predictions, `(N, ..., C)`.
        loss_weight: Weight of this loss among those of several outputs.
    """

    def __init__(
        self,
        loss: Loss,
        likelihood: Likelihood,
        labels: np.ndarray,
        weights: Any,
        shape: tuple[int, ...],
        loss_weight: float = 1.0,
    ) -> None:
        self.loss_weight = loss_weight
        self.loss, self.likelihood, self.labels, self.shape = as_loss(loss), likelihood, labels, shape
        self.weights = checked_weights(weights, shape[: max(1, len(shape) - 1)])

    def columns_of(self, prediction: np.ndarray) -> np.ndarray:
        """Returns the values that the selection averages, `[N, columns]`; for Gaussians means and second moments."""
        return self.likelihood.moments(prediction).reshape(len(prediction), -1)

    def __call__(self, rows: np.ndarray, columns: np.ndarray) -> float:
        prediction = self.likelihood.from_moments(columns.reshape(-1, *self.shape[1:]))
        raw = self.likelihood.to_raw(ops.convert_to_tensor(prediction, keras.config.floatx()))
        labels = ops.convert_to_tensor(self.labels[rows])
        if self.weights is None and self.loss.reduction not in (None, "none"):
            return self.loss_weight * float(self.loss(labels, raw))
        weights = np.ones(len(rows)) if self.weights is None else self.weights[rows]
        return self.loss_weight * self._weighted(labels, raw, weights)

    def _weighted(self, labels: Tensor, raw: Tensor, weights: np.ndarray) -> float:
        """Mean over samples: Keras divides by their number, so its sums differ from those of repeated samples."""
        losses = self.loss.call(labels, raw)
        mask = getattr(losses, "_keras_mask", None)  # labels that the loss ignores
        losses = ops.convert_to_numpy(losses)
        if losses.shape[:1] != weights.shape[:1]:
            raise ValueError(
                "With sample weights the loss must return one value per sample, or another `metric` must score "
                f"predictions. Received: loss={self.loss.name!r}, which returns the shape {losses.shape}"
            )
        weights = weights.mean(tuple(range(losses.ndim, weights.ndim))) if losses.ndim < weights.ndim else weights
        weights = weights.reshape(weights.shape + (1,) * (losses.ndim - weights.ndim))
        weights = weights * np.ones(losses.shape) if mask is None else weights * ops.convert_to_numpy(mask)
        kept = weights > 0
        return float(np.average(losses[kept], weights=weights[kept]))


def unpenalized(loss: LossTree, loss_weights: Any, output_names: Any) -> Callable[..., Any]:
    """Returns a function `(x, y, raw, sample_weight)` for the loss of all outputs, without penalties and smoothing.

    Label smoothing would change the temperature. The function's metric trackers are not metrics of a model.
    """
    plain = keras.Model()
    plain.output_names = output_names
    plain.compile(loss=keras.tree.map_structure(without_smoothing, loss), loss_weights=loss_weights)
    return plain.compute_loss


def check_hyperparameters(network: keras.Model, space: HyperparameterSpace, used: set[str], member_loss: str) -> None:
    """Warns if neither the network nor the loss (names in `used`) uses a hyperparameter.

    Raises:
        ValueError: If the loss uses unknown hyperparameters, or `member_loss` is not `"member"`.
    """
    names = space.names
    if used - set(names):
        raise ValueError(f"The loss must use hyperparameters of the ensemble, {list(names)}. Received: {sorted(used)}")
    if used and member_loss != "member":
        raise ValueError(
            "A loss that depends on hyperparameters requires the loss of single members: use member_loss='member'. "
            f"Received: member_loss={member_loss!r}"
        )
    unused = [name for name in unused_hyperparameters(network, space) if name not in used]
    if unused:
        warnings.warn(f"Neither a layer nor the loss uses the hyperparameters {unused}", stacklevel=3)
