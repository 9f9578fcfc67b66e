"""Labels that no output has: found before training, because a device may take them without a word."""

from typing import Any

import keras

from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import of_each_output
from keras_hyperens.likelihoods import per_output
from keras_hyperens.likelihoods import symbolic_outputs


def check_labels(model: keras.Model, loss: Any, likelihoods: Any, y: Any, name: str) -> None:
    """Raises a `ValueError` for class indices out of range.

    Args:
        model: Whose symbolic outputs say how many classes there are; without these nothing is checked.
        loss: As in `keras.Model.compile`.
        likelihoods: Of the outputs; for `likelihoods.of_each_output`.
        y: Labels in the structure of the outputs.
        name: What they are, in the error.
    """
    outputs = symbolic_outputs(model)
    flat = keras.tree.flatten(y)
    if outputs is None or len(flat) != len(keras.tree.flatten(outputs)):
        return
    names = getattr(model, "output_names", None)
    settings = per_output(loss, outputs, names), of_each_output(likelihoods, outputs, names)
    for labels, output, of_output, likelihood in zip(flat, keras.tree.flatten(outputs), *settings):
        check_classes(labels, of_output, likelihood, tuple(output.shape), name)


def check_classes(labels: Any, loss: Any, likelihood: Likelihood, shape: tuple[int | None, ...], name: str) -> None:
    """Raises a `ValueError` for class indices out of range: of one output whose predictions have this shape."""
    number, is_array = (
        likelihood.num_classes(shape[-1]),
        hasattr(labels, "shape") and not isinstance(labels, keras.KerasTensor),
    )
    if not is_array or number is None:
        return
    if len(labels.shape) != len(shape) - 1 and (len(labels.shape) != len(shape) or labels.shape[-1] != 1):
        return  # one-hot, or in a form of their own
    labels = keras.ops.convert_to_numpy(labels)
    ignored = getattr(loss, "ignore_class", None)
    used = labels if ignored is None else labels[labels != ignored]
    if used.dtype.kind in "iuf" and used.size and not (used.min() >= 0 and used.max() < number):
        raise ValueError(
            f"Labels of {name} must be classes in [0, {number}). Received: values in [{used.min()}, {used.max()}]"
        )
