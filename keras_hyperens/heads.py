"""What a network's raw outputs mean, and how members' outputs become one prediction.

A *head* says how a raw output becomes a prediction: `"softmax"` and `"sigmoid"` are logits of a categorical and of
Bernoulli variables, `"categorical"` and `"bernoulli"` are their probabilities already, `"gaussian"` is D means and D
logarithms of standard deviations, which become D means and D variances; `None` is any other value. Members are combined
as probabilities, never as logits; a loss that takes logits gets the logits of the combined probabilities, computed in
log space; Gaussians become the mean and variance of their mixture.
"""

from typing import Any

import keras
from keras import ops

from keras_hyperens.checks import is_integer
from keras_hyperens.uncertainty import combine
from keras_hyperens.uncertainty import gaussian_mixture
from keras_hyperens.uncertainty import log_mean_exp
from keras_hyperens.uncertainty import median
from keras_hyperens.uncertainty import trimmed_mean

Head = str | None
Combination = str | tuple[str, int]
SMALLEST = 1e-38
ACTIVATIONS = ("softmax", "sigmoid", "categorical", "bernoulli", "gaussian", None)
CATEGORICAL, BERNOULLI = ("softmax", "categorical"), ("sigmoid", "bernoulli")
COMBINATIONS = {"mean": combine, "trimmed_mean": trimmed_mean, "median": median}
HEADS_OF_LOSSES = {  # class of the loss -> (head from logits, head otherwise)
    "SparseCategoricalCrossentropy": ("softmax", "categorical"),
    "CategoricalCrossentropy": ("softmax", "categorical"),
    "CategoricalFocalCrossentropy": ("softmax", "categorical"),
    "CategoricalGeneralizedCrossEntropy": ("categorical", "categorical"),
    "KLDivergence": ("categorical", "categorical"),
    "KlDivergence": ("categorical", "categorical"),
    "kld": ("categorical", "categorical"),
    "BinaryCrossentropy": ("sigmoid", "bernoulli"),
    "BinaryFocalCrossentropy": ("sigmoid", "bernoulli"),
    "GaussianNegativeLogLikelihood": ("gaussian", "gaussian"),
    "CTC": ("softmax", "softmax"),  # takes nothing but logits
    "ctc": ("softmax", "softmax"),
}


def head_of_loss(loss: Any) -> Head:
    """The head that a Keras loss (an object, a name or a function) implies; `None` if it implies none."""
    if hasattr(loss, "evaluation_loss"):  # it varies with hyperparameters
        return head_of_loss(loss.evaluation_loss)
    for name in names_of_loss(loss):
        if name in HEADS_OF_LOSSES:
            from_logits, otherwise = HEADS_OF_LOSSES[name]
            return from_logits if getattr(loss, "from_logits", False) else otherwise
    return None


def names_of_loss(loss: Any) -> list[str]:
    """Names under which a loss (an object, a name or a function) may be known: of its classes, and its own."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    return [family.__name__ for family in type(loss).__mro__] + ["".join(map(str.title, name.split("_"))), name]


def heads_of_losses(loss: Any) -> Any:
    """`head_of_loss` for each loss of a compiled structure: one, a list or a dictionary."""
    if isinstance(loss, dict):
        return {name: head_of_loss(each) for name, each in loss.items()}
    return [head_of_loss(each) for each in loss] if isinstance(loss, list | tuple) else head_of_loss(loss)


def ignored_classes(loss: Any) -> Any:
    """The `ignore_class` of each loss of a compiled structure, `None` where it has none."""
    if isinstance(loss, dict):
        return {name: ignored_classes(each) for name, each in loss.items()}
    if isinstance(loss, list | tuple):
        return [ignored_classes(each) for each in loss]
    if hasattr(loss, "evaluation_loss"):  # it varies with hyperparameters
        return ignored_classes(loss.evaluation_loss)
    return getattr(loss, "ignore_class", None)


def check_output_activation(activation: Any, num_outputs: int | None = None) -> None:
    """Raises a `ValueError` unless every activation is one that can be combined, and lists are one for each output."""
    if isinstance(activation, list | tuple) and num_outputs not in (None, len(activation)):
        raise ValueError(
            f"`output_activation` must have one entry for each of {num_outputs} outputs. "
            f"Received: output_activation={activation!r}"
        )
    for each in keras.tree.flatten(activation):
        if each not in ("auto", *ACTIVATIONS) or (each == "auto" and activation != "auto"):
            raise ValueError(
                f'`output_activation` must be "auto", or for each output one of {ACTIVATIONS}. '
                f"Received: output_activation={activation!r}"
            )


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


def per_output(setting: Any, outputs: Any, output_names: list[str] | None) -> list[Any]:
    """The setting of each output, in the order of `keras.tree.flatten(outputs)`.

    A dictionary is by name, a list is by position, and anything else holds for every output.
    """
    if not keras.tree.is_nested(outputs):
        setting = next(iter(setting.values())) if isinstance(setting, dict) else setting
        return [setting]
    names = dict(enumerate(output_names or ()))
    places = [path[0] for path, _ in keras.tree.flatten_with_path(outputs)]
    if isinstance(setting, dict):
        return [setting.get(place, setting.get(names.get(place))) for place in places]
    return (
        [setting[number] for number in range(len(places))]
        if isinstance(setting, list | tuple)
        else [setting for _ in places]
    )


def like_outputs(setting: Any, outputs: Any, output_names: list[str] | None) -> Any:
    """The setting of each output, in the structure of `outputs`."""
    return keras.tree.pack_sequence_as(outputs, per_output(setting, outputs, output_names))


def prediction(raw: Any, head: Head) -> Any:
    """What users see: probabilities of logits, variances of Gaussians, anything else as it is; at least float32."""
    raw = at_least_float32(raw)
    if head == "softmax":
        return ops.softmax(raw, axis=-1)
    if head == "gaussian":
        means, log_scales = ops.split(raw, 2, axis=-1)
        return ops.concatenate([means, ops.exp(2 * log_scales)], axis=-1)
    return ops.sigmoid(raw) if head == "sigmoid" else raw


def combined(members: Any, head: Head, weights: Any = None, combination: Combination = "mean") -> Any:
    """One prediction from the members' predictions, `[M, B, ...]` to `[B, ...]`; probabilities sum to 1."""
    name, *n_outliers = (combination,) if isinstance(combination, str) else combination
    if head == "gaussian":
        if name != "mean":
            raise ValueError(f'Gaussians are combined as a mixture, by "mean". Received: combination={combination!r}')
        return gaussian_mixture(members, weights)
    prediction = COMBINATIONS[name](members, weights, *n_outliers)
    if name == "median" and head in CATEGORICAL:
        return prediction / ops.sum(prediction, axis=-1, keepdims=True)
    return prediction


def tempered(prediction: Any, head: Head, temperature: Any) -> Any:
    """A prediction less sure by a temperature above 1: `p ** (1 / T)` normalized, or T times a Gaussian's variance."""
    temperature = ops.cast(temperature, prediction.dtype)
    if head in CATEGORICAL:
        return ops.softmax(_log(prediction) / temperature, axis=-1)
    if head in BERNOULLI:
        return ops.sigmoid((_log(prediction) - _log(1 - prediction)) / temperature)
    if head == "gaussian":
        means, variances = ops.split(prediction, 2, axis=-1)
        return ops.concatenate([means, variances * temperature], axis=-1)
    return prediction


def tempered_raw(raw: Any, head: Head, temperature: Any) -> Any:
    """The raw output whose prediction is the tempered one of a raw output."""
    if head in ("softmax", "sigmoid"):
        return raw / ops.cast(temperature, raw.dtype)
    if head == "gaussian":
        means, log_scales = ops.split(raw, 2, axis=-1)
        return ops.concatenate([means, log_scales + ops.cast(ops.log(temperature) / 2, raw.dtype)], axis=-1)
    return tempered(raw, head, temperature)


def raw_of(prediction: Any, head: Head) -> Any:
    """What a loss takes, from a prediction: logits if it takes logits (a probability of 0 counts as 1e-38)."""
    if head == "softmax":
        return _log(prediction)
    if head == "sigmoid":
        return _log(prediction) - _log(1 - prediction)
    if head == "gaussian":
        means, variances = ops.split(prediction, 2, axis=-1)
        return ops.concatenate([means, _log(variances) / 2], axis=-1)
    return prediction


def combined_raw(members: Any, head: Head) -> Any:
    """The raw output whose prediction is the mean of the members' predictions, `[M, B, ...]` to `[B, ...]`."""
    members = at_least_float32(members)
    if head == "softmax":
        return log_mean_exp(ops.log_softmax(members, axis=-1))
    if head == "sigmoid":
        return log_mean_exp(ops.log_sigmoid(members)) - log_mean_exp(ops.log_sigmoid(-members))
    if head == "gaussian":
        return raw_of(gaussian_mixture(prediction(members, head)), head)
    return combine(members)


def _log(values: Any) -> Any:
    return ops.log(ops.maximum(values, SMALLEST))


def at_least_float32(output: Any) -> Any:
    """The output, or a half-precision one in float32."""
    half = keras.backend.standardize_dtype(output.dtype) in ("float16", "bfloat16")
    return ops.cast(output, "float32") if half else output
