"""Base class of the likelihoods."""

from typing import Any
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_hyperens.checks import is_integer
from keras_hyperens.types import Loss
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty import combine
from keras_hyperens.uncertainty import median
from keras_hyperens.uncertainty import trimmed_mean
from keras_hyperens.uncertainty.by_kind import Measure

Combination = str | tuple[str, int]
COMBINATIONS = {"mean": combine, "trimmed_mean": trimmed_mean, "median": median}
SMALLEST = float(np.finfo("float32").tiny)  # TensorFlow flushes smaller values to 0


class Likelihood:
    """Meaning of an output. Abstract; likelihoods are equal if their class and fields are equal.

    Attributes:
        losses: Names of the losses that imply it.
        activation: Name of the last activation that implies it if the loss does not.
        description: Description of its predictions.
        measures, default_measures: Uncertainty measures of its predictions, and the names of the default measures.
        metrics_of_loss: Names of selection metrics that are equal to the compiled loss.
        has_temperature: Whether a temperature changes its predictions.
        has_class_probabilities: Whether predictions are probabilities of classes.
        multi_label: Whether the C outputs of a sample are separate labels, or `None` if unknown.
        from_logits: Whether raw outputs are logits.
        conformal_methods: Methods of conformal prediction, starting with the default.
    """

    losses: ClassVar[frozenset[str]] = frozenset()
    activation: ClassVar[str | None] = None
    description: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]]
    default_measures: ClassVar[tuple[str, ...]]
    metrics_of_loss: ClassVar[tuple[str, ...]] = ("loss",)
    has_temperature: ClassVar[bool] = True
    has_class_probabilities: ClassVar[bool] = False
    multi_label: ClassVar[bool | None] = False
    conformal_methods: ClassVar[tuple[str, ...]] = ("interval",)
    from_logits: bool = False

    @property
    def name(self) -> str | None:
        """The value of `output_activation` for this likelihood."""
        raise NotImplementedError

    @classmethod
    def is_implied_by(cls, loss: Loss) -> bool:
        """Whether a loss (an object, a name or a function) implies this likelihood."""
        return not cls.losses.isdisjoint(names_of_loss(getattr(loss, "evaluation_loss", loss)))

    @classmethod
    def of_loss(cls, loss: Loss) -> "Likelihood":
        """Returns the likelihood of outputs for a loss that implies this class."""
        return cls()

    def predict(self, raw: Tensor) -> Tensor:
        """Returns the prediction of a raw output: probabilities of logits, variances of Gaussians; at least float32."""
        return at_least_float32(raw)

    def to_raw(self, prediction: Tensor) -> Tensor:
        """Returns the input of a loss for a prediction: logits if it takes logits (0 counts as 1.2e-38)."""
        return prediction

    def combine(self, members: Tensor, weights: Tensor | None = None, combination: Combination = "mean") -> Tensor:
        """Combines the members' predictions, `[M, B, ...]` to `[B, ...]`; probabilities sum to 1."""
        name, *n_outliers = (combination,) if isinstance(combination, str) else combination
        return COMBINATIONS[name](members, weights, *n_outliers)

    def combine_raw(self, members: Tensor) -> Tensor:
        """Returns the raw output for the mean of the members' predictions, `[M, B, ...]` to `[B, ...]`."""
        return combine(at_least_float32(members))

    def temper(self, prediction: Tensor, temperature: Tensor) -> Tensor:
        """Applies a temperature to a prediction: values above 1 reduce its confidence."""
        return prediction

    def temper_raw(self, raw: Tensor, temperature: Tensor) -> Tensor:
        """Returns the raw output for the tempered prediction of a raw output."""
        return self.temper(raw, temperature)

    def fit_temperature(
        self, prediction: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior_rows: float = 0.0
    ) -> float:
        """Returns the temperature that maximizes the likelihood of these samples; `prior_rows` as in `calibration`."""
        raise NotImplementedError

    def densities(self, members: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the likelihood of the labels under each member, and the sample weights.

        Args:
            members: The members' predictions `[M, B, ..., C]`.
            labels: Labels as the loss takes them.
            weights: Weight of each sample or position.

        Returns:
            Probabilities, or densities up to a factor per column, `[M, N]`, and positive weights, `[N]`.
        """
        raise ValueError(
            "Member weights are fitted by the likelihood of the labels, which requires probabilities or Gaussians. "
            f"Received: an output of {self.description}"
        )

    def distributions(self, prediction: Tensor) -> Tensor:
        """Returns predictions in the format of uncertainty measures."""
        return prediction

    def logits(self, raw: Tensor) -> Tensor:
        """Returns logits of classes, `[..., C]`, from a raw output."""
        raise ValueError("The energy needs logits: train with from_logits=True. Received: a network of probabilities")

    def num_classes(self, width: int | None) -> int | None:
        """Returns the number of classes of labels for predictions of this width, or `None` if unknown."""
        return None

    def class_probabilities(self, prediction: Any) -> Any:
        """Returns probabilities of mutually exclusive classes, `[..., C]`, as NumPy if the prediction is."""
        raise NotImplementedError

    def label(self, prediction: Any) -> Any:
        """Returns the predicted class, for probabilities."""
        raise NotImplementedError

    def num_targets(self, labels: np.ndarray, shape: tuple[int, ...]) -> int:
        """Returns D, the number of targets of a prediction of this shape, for other outputs."""
        return shape[-1]

    def band(self, prediction: Any, num_targets: int) -> tuple[Any, Any, Any]:
        """Returns the lower and upper bounds that a conformal interval widens, and their scales, `[..., D]`."""
        raise NotImplementedError

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
        """Returns the default metric of a selection: `"nll"`, `"mse"`, or `"loss"` for labels that support neither.

        Args:
            labels: Labels of the output.
            shape: Shape of its predictions.
            loss: Its compiled loss, or `None`.
        """
        raise NotImplementedError

    def scored(
        self, predictions: list[np.ndarray], labels: np.ndarray, by_class: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Returns predictions of candidates, and labels, in the format of selection scores.

        Args:
            predictions: `[N, ..., C]` each.
            labels: Labels of the output.
            by_class: Whether the score requires probabilities of classes.
        """
        return predictions, labels

    def moments(self, prediction: np.ndarray) -> np.ndarray:
        """Returns the quantities to average over members, from which `from_moments` computes the prediction."""
        return prediction

    def from_moments(self, moments: np.ndarray) -> np.ndarray:
        """Returns the prediction of averaged moments."""
        return moments

    def neutral(self, width: int) -> np.ndarray:
        """Returns a neutral prediction of one sample, compatible with any label, `[width]`."""
        raise NotImplementedError


def at_least_float32(output: Tensor) -> Tensor:
    """Returns the output, converted to float32 if it has half precision."""
    half = keras.backend.standardize_dtype(output.dtype) in ("float16", "bfloat16")
    return ops.cast(output, "float32") if half else output


def safe_log(values: Tensor) -> Tensor:
    """Returns logarithms, clipped from below at that of `SMALLEST`."""
    return ops.log(ops.maximum(values, SMALLEST))


def names_of_loss(loss: Loss) -> list[str]:
    """Returns names of a loss (an object, a name or a function): those of its classes, and its own."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    return [family.__name__ for family in type(loss).__mro__] + ["".join(map(str.title, name.split("_"))), name]


def checked_combination(combination: Any) -> Combination:
    """Returns a name, or `("trimmed_mean", n_outliers)`; raises a `ValueError` for other values."""
    if isinstance(combination, str) and combination in COMBINATIONS:
        return combination
    if isinstance(combination, tuple | list) and len(combination) == 2 and combination[0] == "trimmed_mean":
        if is_integer(combination[1]) and combination[1] >= 0:
            return combination[0], int(combination[1])
    raise ValueError(
        f'`combination` must be one of {tuple(COMBINATIONS)} or ("trimmed_mean", n_outliers). '
        f"Received: combination={combination!r}"
    )


def labels_like(labels: np.ndarray, prediction: np.ndarray, width: int) -> np.ndarray:
    """Returns labels with a shape of `width` values per sample or position of a prediction.

    Raises:
        ValueError: If their number is different.
    """
    shape = (*prediction.shape[:-1], width)
    if labels.size != np.prod(shape):
        raise ValueError(f"Labels must be of shape {shape}. Received: labels of shape {labels.shape}")
    return labels.reshape(shape)
