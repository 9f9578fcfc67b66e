"""What a network's raw outputs mean, and how members' outputs become one prediction.

A *head* says how a raw output becomes a prediction: `"softmax"` and `"sigmoid"` are logits of a categorical and of
Bernoulli variables, `"categorical"` and `"bernoulli"` are their probabilities already, `None` is any other value.
Members are combined as probabilities, never as logits; a loss that takes logits gets the logits of the combined
probabilities, computed in log space.
"""

from typing import Any

import keras
from keras import ops

from keras_hyperens.uncertainty import combine
from keras_hyperens.uncertainty import median
from keras_hyperens.uncertainty import trimmed_mean

Head = str | None
SMALLEST = 1e-38
COMBINATIONS = {"mean": combine, "trimmed_mean": trimmed_mean, "median": median}
HEADS_OF_LOSSES = {  # class of the loss -> (head from logits, head otherwise)
    "SparseCategoricalCrossentropy": ("softmax", "categorical"),
    "CategoricalCrossentropy": ("softmax", "categorical"),
    "CategoricalFocalCrossentropy": ("softmax", "categorical"),
    "BinaryCrossentropy": ("sigmoid", "bernoulli"),
    "BinaryFocalCrossentropy": ("sigmoid", "bernoulli"),
    "CTC": ("softmax", "softmax"),  # takes nothing but logits
    "ctc": ("softmax", "softmax"),
}


def head_of_loss(loss: Any) -> Head:
    """The head that a Keras loss (an object, a name or a function) implies; `None` if it implies none."""
    if hasattr(loss, "evaluation_loss"):  # it varies with hyperparameters
        return head_of_loss(loss.evaluation_loss)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    families = [family.__name__ for family in type(loss).__mro__] + ["".join(map(str.title, name.split("_"))), name]
    for family in families:
        if family in HEADS_OF_LOSSES:
            from_logits, otherwise = HEADS_OF_LOSSES[family]
            return from_logits if getattr(loss, "from_logits", False) else otherwise
    return None


def heads_of_losses(loss: Any) -> Any:
    """`head_of_loss` for each loss of a compiled structure: one, a list or a dictionary."""
    if isinstance(loss, dict):
        return {name: head_of_loss(each) for name, each in loss.items()}
    return [head_of_loss(each) for each in loss] if isinstance(loss, list | tuple) else head_of_loss(loss)


def check_output_activation(activation: Any) -> None:
    """Raises a `ValueError` unless every activation is one that can be combined."""
    for each in keras.tree.flatten(activation):
        if each not in ("auto", "softmax", "sigmoid", None) or (each == "auto" and activation != "auto"):
            raise ValueError(
                '`output_activation` must be "auto", or for each output "softmax", "sigmoid" or None. '
                f"Received: output_activation={activation!r}"
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
    """What users see: probabilities of logits, anything else as it is; at least float32."""
    raw = _at_least_float32(raw)
    if head == "softmax":
        return ops.softmax(raw, axis=-1)
    return ops.sigmoid(raw) if head == "sigmoid" else raw


def combined(members: Any, head: Head, weights: Any = None, combination: str = "mean") -> Any:
    """One prediction from the members' predictions, `[M, B, ...]` to `[B, ...]`; probabilities sum to 1."""
    prediction = COMBINATIONS[combination](members, weights)
    if combination == "median" and head in ("softmax", "categorical"):
        return prediction / ops.sum(prediction, axis=-1, keepdims=True)
    return prediction


def raw_of(prediction: Any, head: Head) -> Any:
    """What a loss takes, from a prediction: logits if it takes logits (a probability of 0 counts as 1e-38)."""
    if head not in ("softmax", "sigmoid"):
        return prediction
    logarithm = ops.log(ops.maximum(prediction, SMALLEST))
    return logarithm if head == "softmax" else logarithm - ops.log(ops.maximum(1 - prediction, SMALLEST))


def combined_raw(members: Any, head: Head) -> Any:
    """The raw output whose prediction is the mean of the members' predictions, `[M, B, ...]` to `[B, ...]`."""
    members = _at_least_float32(members)
    if head == "softmax":
        return _log_mean_exp(ops.log_softmax(members, axis=-1))
    if head == "sigmoid":
        return _log_mean_exp(ops.log_sigmoid(members)) - _log_mean_exp(ops.log_sigmoid(-members))
    return combine(members)


def _log_mean_exp(logarithms: Any) -> Any:
    return ops.logsumexp(logarithms, axis=0) - ops.log(ops.cast(logarithms.shape[0], logarithms.dtype))


def _at_least_float32(output: Any) -> Any:
    half = keras.backend.standardize_dtype(output.dtype) in ("float16", "bfloat16")
    return ops.cast(output, "float32") if half else output
