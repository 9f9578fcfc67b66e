"""Checks of labels before training: values that the outputs do not support, or whose meaning is unknown."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens.likelihoods import Bernoulli
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import Value
from keras_hyperens.likelihoods import of_each_output
from keras_hyperens.likelihoods import parts_of_outputs
from keras_hyperens.likelihoods import per_output
from keras_hyperens.likelihoods import symbolic_outputs
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import Loss
from keras_hyperens.types import LossTree
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


def check_labels(
    model: keras.Model,
    loss: LossTree,
    likelihoods: LikelihoodTree,
    y: TensorTree,
    name: str,
    output_activation: Any = "auto",
    all_count: bool = True,
) -> None:
    """Raises a `ValueError` for labels out of range, or with an unknown meaning.

    Args:
        model: A model whose symbolic outputs define the number of classes; without these nothing is checked.
        loss: As in `keras.Model.compile`.
        likelihoods: Likelihoods of the outputs; for `likelihoods.of_each_output`.
        y: Labels in the structure of the outputs, or by their names.
        name: Description of the labels, for errors.
        output_activation: As in `HyperBatchEnsemble`.
        all_count: Whether no label has a weight.
    """
    outputs = symbolic_outputs(model)
    if outputs is None:
        return
    names = getattr(model, "output_names", None)
    flat, symbolic = parts_of_outputs(y, outputs, names), keras.tree.flatten(outputs)
    if len(flat) != len(symbolic):
        return
    settings = per_output(loss, outputs, names), of_each_output(likelihoods, outputs, names)
    for labels, output, of_output, likelihood in zip(flat, symbolic, *settings):
        check_classes(labels, of_output, likelihood, tuple(output.shape), name)
        if isinstance(labels, np.ndarray | tf.Tensor):
            labels, shape = keras.ops.convert_to_numpy(labels), (len(labels), *output.shape[1:])
            if all_count and getattr(output, "_keras_mask", None) is None:
                _check_answers(labels, of_output, likelihood, name)
            _check_width(labels, of_output, shape, name)
            if output_activation == "auto" and None not in shape:
                check_meaning(labels, of_output, likelihood, shape)


def check_classes(labels: Tensor, loss: Loss, likelihood: Likelihood, shape: Shape, name: str) -> None:
    """Raises a `ValueError` for labels that are not classes of one output with predictions of this shape."""
    number, is_array = (
        likelihood.num_classes(shape[-1]),
        hasattr(labels, "shape") and not isinstance(labels, keras.KerasTensor),
    )
    if not is_array or number is None:
        return
    if len(labels.shape) != len(shape) - 1 and (len(labels.shape) != len(shape) or labels.shape[-1] != 1):
        return  # one-hot, or in a custom format
    labels = keras.ops.convert_to_numpy(labels)
    ignored = getattr(loss, "ignore_class", None)
    used = labels if ignored is None else labels[labels != ignored]
    if used.dtype.kind not in "iuf" or not used.size:
        return
    if not (used.min() >= 0 and used.max() < number and (used == np.floor(used)).all()):
        raise ValueError(
            f"Labels of {name} must be classes in [0, {number}). Received: values in [{used.min()}, {used.max()}], "
            f"such as {used.reshape(-1)[:3].tolist()}"
        )


def check_meaning(labels: np.ndarray, loss: Loss, likelihood: Likelihood, shape: tuple[int, ...]) -> None:
    """Raises a `ValueError` for labels that look like classes if outputs are not known to be probabilities.

    Args:
        labels: Labels of one output.
        loss: Its loss, or `None`.
        likelihood: Likelihood implied by its loss and its last activation.
        shape: Shape of its predictions.
    """
    if likelihood != Value() or loss is None or Value.is_implied_by(loss):
        return
    is_index = labels.size * shape[-1] == np.prod(shape) and shape[-1] > 1 and labels.dtype.kind in "iub"
    if is_index or (labels.size == np.prod(shape) and np.isin(labels, (0, 1)).all()):
        raise ValueError(
            "Labels look like classes, but neither the loss nor the last activation implies the kind of outputs: set "
            '`output_activation` to "softmax" or "sigmoid" for logits, "categorical" or "bernoulli" for probabilities, '
            f"`None` for values. Received: loss={loss!r}, labels such as {labels.reshape(-1)[:3].tolist()}"
        )


def _check_answers(labels: np.ndarray, loss: Loss, likelihood: Likelihood, name: str) -> None:
    """Raises a `ValueError` for binary labels outside of [0, 1], for which Keras losses are negative."""
    is_one = isinstance(likelihood, Bernoulli) and _is_of_keras(loss) and labels.dtype.kind in "iuf"
    if is_one and labels.size and (labels.min() < 0 or labels.max() > 1):
        raise ValueError(
            f"Labels of {name} must be in [0, 1] with a binary loss. Received: values in [{labels.min()}, "
            f"{labels.max()}]"
        )


def _check_width(labels: np.ndarray, loss: Loss, shape: Shape, name: str) -> None:
    """Raises a `ValueError` for one value instead of several, which Keras losses broadcast."""
    is_column = labels.ndim == len(shape) and labels.shape[-1] == 1
    if is_column and shape[-1] not in (None, 1) and Value.is_implied_by(loss) and _is_of_keras(loss):
        raise ValueError(
            f"Labels of {name} must have a value for each of {shape[-1]} outputs. Received: shape={labels.shape}"
        )


def _is_of_keras(loss: Loss) -> bool:
    """Whether it is a loss of Keras, which has no custom format of labels."""
    loss = getattr(loss, "evaluation_loss", loss)
    home = getattr(loss, "__module__", "") if callable(loss) and hasattr(loss, "__name__") else type(loss).__module__
    return isinstance(loss, str) or str(home).startswith("keras.")
