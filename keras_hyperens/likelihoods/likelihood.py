"""What every likelihood can do."""

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
SMALLEST = float(np.finfo("float32").tiny)  # anything below is 0 to TensorFlow


class Likelihood:
    """What an output means. Abstract; likelihoods are equal if class and fields are.

    Attributes:
        losses: Names of the losses that imply it.
        activation: Name of the last activation that implies it where the loss says nothing.
        description: What its predictions are.
        measures, default_measures: Measures of uncertainty that its predictions have, and names of the usual ones.
        metrics_of_loss: Names of metrics of a selection that are the compiled loss.
        has_temperature: Whether a temperature changes its predictions.
        has_class_probabilities: Whether predictions are probabilities, of which classes can be made.
        multi_label: Whether the C outputs of a row are labels of their own, or `None`: nothing says so.
        from_logits: Whether raw outputs are logits.
        conformal_methods: Methods of conformal prediction, the default one first.
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
        """What users write as `output_activation`."""
        raise NotImplementedError

    @classmethod
    def is_implied_by(cls, loss: Loss) -> bool:
        """Whether a loss (an object, a name or a function) is one of those that imply it."""
        return not cls.losses.isdisjoint(names_of_loss(getattr(loss, "evaluation_loss", loss)))

    @classmethod
    def of_loss(cls, loss: Loss) -> "Likelihood":
        """The likelihood of the outputs that a loss takes which implies this class."""
        return cls()

    def predict(self, raw: Tensor) -> Tensor:
        """What users see: probabilities of logits, variances of Gaussians, anything else as it is; at least float32."""
        return at_least_float32(raw)

    def to_raw(self, prediction: Tensor) -> Tensor:
        """What a loss takes, from a prediction: logits if it takes logits (a probability of 0 counts as 1.2e-38)."""
        return prediction

    def combine(self, members: Tensor, weights: Tensor | None = None, combination: Combination = "mean") -> Tensor:
        """One prediction from the members' predictions, `[M, B, ...]` to `[B, ...]`; probabilities sum to 1."""
        name, *n_outliers = (combination,) if isinstance(combination, str) else combination
        return COMBINATIONS[name](members, weights, *n_outliers)

    def combine_raw(self, members: Tensor) -> Tensor:
        """The raw output whose prediction is the mean of the members' predictions, `[M, B, ...]` to `[B, ...]`."""
        return combine(at_least_float32(members))

    def temper(self, prediction: Tensor, temperature: Tensor) -> Tensor:
        """A prediction less sure by a temperature above 1."""
        return prediction

    def temper_raw(self, raw: Tensor, temperature: Tensor) -> Tensor:
        """The raw output whose prediction is the tempered one of a raw output."""
        return self.temper(raw, temperature)

    def fit_temperature(
        self, prediction: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior_rows: float = 0.0
    ) -> float:
        """The temperature for which the predictions of these rows are most likely; `prior_rows` as in `calibration`."""
        raise NotImplementedError

    def densities(self, members: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How likely each member finds what happened, and how much that counts.

        Args:
            members: Their predictions `[M, B, ..., C]`.
            labels: As the loss takes them.
            weights: How much each row, or position, counts.

        Returns:
            Probabilities, or densities up to a factor of each column, `[M, N]`, and weights above 0, `[N]`.
        """
        raise ValueError(
            "Members are weighted by how likely they find the labels, which takes probabilities or Gaussians. "
            f"Received: an output of {self.description}"
        )

    def distributions(self, prediction: Tensor) -> Tensor:
        """Predictions as measures of uncertainty take them."""
        return prediction

    def logits(self, raw: Tensor) -> Tensor:
        """Logits of classes, `[..., C]`, from a raw output."""
        raise ValueError("The energy needs logits: train with from_logits=True. Received: a network of probabilities")

    def num_classes(self, width: int | None) -> int | None:
        """How many classes labels may have where predictions have this width; `None`: nothing is said of labels."""
        return None

    def class_probabilities(self, prediction: Any) -> Any:
        """Probabilities of classes that exclude each other, `[..., C]`, NumPy if the prediction is."""
        raise NotImplementedError

    def label(self, prediction: Any) -> Any:
        """The class of each prediction, for probabilities."""
        raise NotImplementedError

    def num_targets(self, labels: np.ndarray, shape: tuple[int, ...]) -> int:
        """D, the number of values that a prediction of this shape says something about, for other outputs."""
        return shape[-1]

    def band(self, prediction: Any, num_targets: int) -> tuple[Any, Any, Any]:
        """What a conformal interval widens, and by multiples of what: lower and upper ends and scales, `[..., D]`."""
        raise NotImplementedError

    def default_metric(self, labels: np.ndarray, shape: tuple[int, ...], loss: Loss) -> str:
        """What a selection scores predictions by: `"nll"`, `"mse"`, or `"loss"` for labels that have neither.

        Args:
            labels: Of the output.
            shape: Of its predictions.
            loss: With which it was compiled, or `None`.
        """
        raise NotImplementedError

    def scored(
        self, predictions: list[np.ndarray], labels: np.ndarray, by_class: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Predictions of candidates, and labels, as scores of a selection take them.

        Args:
            predictions: `[N, ..., C]` each.
            labels: Of the output.
            by_class: Whether the score reads probabilities of classes.
        """
        return predictions, labels

    def moments(self, prediction: np.ndarray) -> np.ndarray:
        """What of predictions may be averaged over members, so that `from_moments` gives the combined prediction."""
        return prediction

    def from_moments(self, moments: np.ndarray) -> np.ndarray:
        """The prediction of averaged moments."""
        return moments

    def neutral(self, width: int) -> np.ndarray:
        """A prediction of one row that no label contradicts, `[width]`."""
        raise NotImplementedError


def at_least_float32(output: Tensor) -> Tensor:
    """The output, or a half-precision one in float32."""
    half = keras.backend.standardize_dtype(output.dtype) in ("float16", "bfloat16")
    return ops.cast(output, "float32") if half else output


def safe_log(values: Tensor) -> Tensor:
    """Logarithms, of `SMALLEST` for anything below."""
    return ops.log(ops.maximum(values, SMALLEST))


def names_of_loss(loss: Loss) -> list[str]:
    """Names under which a loss (an object, a name or a function) may be known: of its classes, and its own."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    return [family.__name__ for family in type(loss).__mro__] + ["".join(map(str.title, name.split("_"))), name]


def checked_combination(combination: Any) -> Combination:
    """A name, or `("trimmed_mean", n_outliers)`; raises a `ValueError` for anything else."""
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
    """Labels in the shape of `width` values for each row or position of a prediction.

    Raises:
        ValueError: If there are fewer, or more.
    """
    shape = (*prediction.shape[:-1], width)
    if labels.size != np.prod(shape):
        raise ValueError(f"Labels must be of shape {shape}. Received: labels of shape {labels.shape}")
    return labels.reshape(shape)
