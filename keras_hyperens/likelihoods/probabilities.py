"""Probability outputs, or their logits: of classes, or of binary labels."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_hyperens.calibration import fit_temperature
from keras_hyperens.calibration.temperature import checked_truth
from keras_hyperens.checks import is_one_hot
from keras_hyperens.likelihoods.likelihood import SMALLEST
from keras_hyperens.likelihoods.likelihood import Combination
from keras_hyperens.likelihoods.likelihood import Likelihood
from keras_hyperens.likelihoods.likelihood import at_least_float32
from keras_hyperens.likelihoods.likelihood import labels_like
from keras_hyperens.likelihoods.likelihood import names_of_loss
from keras_hyperens.likelihoods.likelihood import safe_log
from keras_hyperens.types import Loss
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty import by_kind
from keras_hyperens.uncertainty import log_mean_exp


@dataclass(frozen=True)
class Probabilities(Likelihood):
    """Probabilities or logits. Abstract.

    Args:
        from_logits: Whether raw outputs are logits instead of probabilities.
    """

    from_logits: bool = False

    measures = by_kind.OF_PROBABILITIES
    default_measures = ("predictive_entropy", "expected_entropy", "mutual_information")
    has_class_probabilities = True
    conformal_methods = ("threshold", "aps", "raps")

    @classmethod
    def of_loss(cls, loss: Loss) -> Likelihood:
        return cls(bool(getattr(loss, "from_logits", False)))

    def temper_raw(self, raw: Tensor, temperature: Tensor) -> Tensor:
        return raw / ops.cast(temperature, raw.dtype) if self.from_logits else self.temper(raw, temperature)


@dataclass(frozen=True)
class Categorical(Probabilities):
    """Probabilities of C classes `[..., C]` that sum to 1, or their logits."""

    losses = frozenset(
        """SparseCategoricalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy
        CategoricalGeneralizedCrossEntropy KLDivergence KlDivergence kld CTC ctc""".split()
    )
    activation = "softmax"
    description = "probabilities of classes"

    @property
    def name(self) -> str:
        return "softmax" if self.from_logits else "categorical"

    @classmethod
    def of_loss(cls, loss: Loss) -> Likelihood:
        takes_only_logits = not {"CTC", "ctc"}.isdisjoint(names_of_loss(loss))
        return cls(True) if takes_only_logits else super().of_loss(loss)

    def predict(self, raw: Tensor) -> Tensor:
        raw = at_least_float32(raw)
        return ops.softmax(raw, axis=-1) if self.from_logits else raw

    def to_raw(self, prediction: Tensor) -> Tensor:
        return safe_log(prediction) if self.from_logits else prediction

    def combine(self, members: Tensor, weights: Tensor | None = None, combination: Combination = "mean") -> Tensor:
        prediction = super().combine(members, weights, combination)
        return prediction / ops.sum(prediction, axis=-1, keepdims=True) if combination == "median" else prediction

    def combine_raw(self, members: Tensor) -> Tensor:
        if not self.from_logits:
            return super().combine_raw(members)
        return log_mean_exp(ops.log_softmax(at_least_float32(members), axis=-1))

    def temper(self, prediction: Tensor, temperature: Tensor) -> Tensor:
        """`p ** (1 / T)`, normalized."""
        return ops.softmax(safe_log(prediction) / ops.cast(temperature, prediction.dtype), axis=-1)

    def fit_temperature(
        self, prediction: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior_rows: float = 0.0
    ) -> float:
        return fit_temperature(prediction, labels, weights, prior_rows)

    def densities(self, members: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _densities(members, labels, weights)

    def logits(self, raw: Tensor) -> Tensor:
        return raw if self.from_logits else super().logits(raw)

    def num_classes(self, width: int | None) -> int | None:
        return width

    def class_probabilities(self, prediction: Tensor) -> Tensor:
        return prediction

    def label(self, prediction: Tensor) -> Tensor:
        """Returns the most probable class, `[...]`."""
        return ops.argmax(prediction, axis=-1)

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
        if loss is None:
            return "nll"
        is_soft = labels.shape == shape and shape[-1] > 1 and not is_one_hot(labels)
        return "loss" if is_soft or labels.shape not in (shape, shape[:-1], (*shape[:-1], 1)) else "nll"

    def neutral(self, width: int) -> np.ndarray:
        return np.full(width, 1 / width, "float32")


@dataclass(frozen=True)
class Bernoulli(Probabilities):
    """Probabilities of C binary labels, `[..., C]`, or their logits."""

    losses = frozenset({"BinaryCrossentropy", "BinaryFocalCrossentropy"})
    activation = "sigmoid"
    description = "probabilities of binary labels"
    multi_label = True

    @property
    def name(self) -> str:
        return "sigmoid" if self.from_logits else "bernoulli"

    def predict(self, raw: Tensor) -> Tensor:
        raw = at_least_float32(raw)
        return ops.sigmoid(raw) if self.from_logits else raw

    def to_raw(self, prediction: Tensor) -> Tensor:
        return safe_log(prediction) - safe_log(1 - prediction) if self.from_logits else prediction

    def combine_raw(self, members: Tensor) -> Tensor:
        if not self.from_logits:
            return super().combine_raw(members)
        members = at_least_float32(members)
        return log_mean_exp(ops.log_sigmoid(members)) - log_mean_exp(ops.log_sigmoid(-members))

    def temper(self, prediction: Tensor, temperature: Tensor) -> Tensor:
        """`p ** (1 / T)` of both classes, normalized."""
        logits = safe_log(prediction) - safe_log(1 - prediction)
        return ops.sigmoid(logits / ops.cast(temperature, prediction.dtype))

    def fit_temperature(
        self, prediction: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior_rows: float = 0.0
    ) -> float:
        labels = labels_like(labels, prediction, prediction.shape[-1])
        of_every = np.broadcast_to(weights[..., None], labels.shape)  # a sample's weight applies to all of its labels
        predicted, true = (np.stack([1 - yes, yes], axis=-1) for yes in (prediction, labels))
        return fit_temperature(predicted, true, of_every, prior_rows)

    def densities(self, members: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels = labels_like(labels, members[0], members.shape[-1])
        of_every = np.broadcast_to(weights[..., None], labels.shape)
        predicted, true = (np.stack([1 - yes, yes], axis=-1) for yes in (members, labels))
        return _densities(predicted, true, of_every)

    def distributions(self, prediction: Tensor) -> Tensor:
        """Returns the probabilities of the negative and positive class, `[..., C, 2]`."""
        return ops.stack([1 - prediction, prediction], axis=-1)

    def logits(self, raw: Tensor) -> Tensor:
        return ops.stack([ops.zeros_like(raw), raw], axis=-1) if self.from_logits else super().logits(raw)

    def class_probabilities(self, prediction: Tensor) -> Tensor:
        """A single probability is that of the second of two classes."""
        if prediction.shape[-1] != 1:
            raise ValueError(
                "A report and conformal sets require mutually exclusive classes. "
                f"Received: {prediction.shape[-1]} separate binary outputs"
            )
        both = [1 - prediction, prediction]
        return np.concatenate(both, axis=-1) if isinstance(prediction, np.ndarray) else ops.concatenate(both, axis=-1)

    def label(self, prediction: Tensor) -> Tensor:
        """Returns the binary label of each output, `[..., C]`, or `[...]` for a single output."""
        labels = ops.cast(prediction >= 0.5, "int32")
        return labels[..., 0] if prediction.shape[-1] == 1 else labels

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
        if loss is None:
            return "nll"
        return "nll" if np.isin(labels, (0, 1)).all() or labels.min() < 0 or labels.max() > 1 else "loss"

    def scored(
        self, predictions: list[np.ndarray], labels: np.ndarray, by_class: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Treats each binary label as a separate sample if classes are scored."""
        shape = predictions[0].shape
        if not by_class or labels.size != np.prod(shape):
            return predictions, labels
        return [each.reshape(*shape, 1) for each in predictions], labels.reshape(shape)

    def neutral(self, width: int) -> np.ndarray:
        return np.full(width, 0.5, "float32")


def _densities(members: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of each observed class; a soft label has several."""
    _, truth, counts = checked_truth(members[0], labels, weights)
    happened = truth * (1.0 if counts is None else counts[:, None])
    read = happened > 0
    predicted = members[:, np.asarray(weights) > 0].astype("float64")
    return np.maximum(predicted[:, read], SMALLEST), happened[read]
