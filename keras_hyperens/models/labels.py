"""Labels that no output has: found before training, because a device may take them without a word."""

from typing import Any

import keras

from keras_hyperens import heads
from keras_hyperens.output_heads import symbolic_outputs


def check_labels(model: keras.Model, loss: Any, heads_of_outputs: Any, y: Any, name: str) -> None:
    """Raises a `ValueError` for class indices out of range.

    Args:
        model: Whose symbolic outputs say how many classes there are; without these nothing is checked.
        loss: As in `keras.Model.compile`.
        heads_of_outputs: What outputs mean; for `heads.per_output`.
        y: Labels in the structure of the outputs.
        name: What they are, in the error.
    """
    outputs = symbolic_outputs(model)
    flat = keras.tree.flatten(y)
    if outputs is None or len(flat) != len(keras.tree.flatten(outputs)):
        return
    names = getattr(model, "output_names", None)
    settings = [heads.per_output(each, outputs, names) for each in (loss, heads_of_outputs)]
    for labels, output, of_output, head in zip(flat, keras.tree.flatten(outputs), *settings):
        check_classes(labels, of_output, head, tuple(output.shape), name)


def check_classes(labels: Any, loss: Any, head: heads.Head, shape: tuple[int | None, ...], name: str) -> None:
    """Raises a `ValueError` for class indices out of range: of one output whose predictions have this shape."""
    number, is_array = shape[-1], hasattr(labels, "shape") and not isinstance(labels, keras.KerasTensor)
    if head not in heads.CATEGORICAL or not is_array or number is None:
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
