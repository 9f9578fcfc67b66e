"""What can be checked before the first candidate is trained: shapes, labels, one scoring of a made-up prediction."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hyperens.heads import BERNOULLI
from keras_hyperens.heads import CATEGORICAL
from keras_hyperens.models.batches import batch_specs
from keras_hyperens.models.labels import check_classes
from keras_hyperens.output_heads import is_of_values
from keras_hyperens.search.problem import Target
from keras_hyperens.search.validation import ValidationRows
from keras_hyperens.search.validation import check_lengths


def check_scoring(
    model: keras.Model,
    rows: ValidationRows,
    targets: list[Target],
    score: Callable[[list[np.ndarray], list[Any]], float],
    y: Any = None,
) -> None:
    """Scores a made-up prediction of the validation rows.

    Args:
        model: One like the candidates; it is spoiled.
        rows: The validation rows.
        targets: Of each output.
        score: Of a prediction of each output, and their heads.
        y: The labels of the training rows.

    Raises:
        ValueError: If the model cannot predict these rows, the labels cannot be scored, or nothing says what an output
            means.
    """
    first, kinds = _first_prediction(model, rows)
    if len(targets) != len(kinds):
        raise ValueError(f"There must be labels for each of {len(kinds)} outputs. Received: labels for {len(targets)}")
    shapes = [(len(target.labels), *output.shape[1:]) for target, output in zip(targets, first)]
    for target, kind, shape in zip(targets, kinds, shapes):
        _check_meaning(target, kind, shape, rows.output_activation)
    made_up = [np.broadcast_to(_made_up(kind, shape), shape) for kind, shape in zip(kinds, shapes)]
    try:
        score(made_up, kinds)
    except (ValueError, TypeError) as error:
        raise ValueError(f"The validation data cannot be scored: {error}") from error
    flat = keras.tree.flatten(y)
    for labels, target, kind, shape in zip(flat, targets, kinds, shapes):
        check_classes(labels, target.loss, kind, shape, "training data")


def _first_prediction(model: keras.Model, rows: ValidationRows) -> tuple[list[np.ndarray], list[Any]]:
    model.run_eagerly, model.jit_compile = True, False  # one row is not worth a graph
    try:
        outputs = model.predict(rows.first(), verbose=0)
    except Exception as error:
        raise ValueError(f"A model of the hypermodel cannot predict the validation data: {error}") from error
    return rows.predictions(model, outputs, "float32")


def _made_up(kind: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What no label contradicts: a row."""
    if kind == "gaussian":
        return np.repeat([0.0, 1.0], shape[-1] // 2).astype("float32")
    value = 1 / shape[-1] if kind in CATEGORICAL else 0.5 if kind in BERNOULLI else 0.0
    return np.full(shape[-1:], value, "float32")


def _check_meaning(target: Target, kind: Any, shape: tuple[int, ...], output_activation: Any) -> None:
    """Raises a `ValueError` for labels that look like classes where nothing says that outputs are probabilities."""
    if kind is not None or target.loss is None or output_activation != "auto" or is_of_values(target.loss):
        return
    labels = target.labels
    is_index = labels.size * shape[-1] == np.prod(shape) and shape[-1] > 1 and labels.dtype.kind in "iub"
    if is_index or (labels.size == np.prod(shape) and np.isin(labels, (0, 1)).all()):
        raise ValueError(
            "Labels look like classes, but neither the loss nor the last activation says what the outputs are: give "
            '`output_activation`, "softmax" or "sigmoid" for logits, "categorical" or "bernoulli" for probabilities, '
            f"`None` for values. Received: loss={target.loss!r}, labels such as {labels.reshape(-1)[:3].tolist()}"
        )


def check_training_data(x: Any, y: Any, sample_weight: Any, rows: ValidationRows) -> None:
    """Raises a `ValueError` unless training arrays have equal lengths, and rows like those of validation."""
    if x is None or hasattr(x, "__next__"):  # a generator is not to be begun
        return
    if not isinstance(x, keras.utils.PyDataset) and not hasattr(x, "element_spec"):
        check_lengths(x, y, sample_weight, "training data")
    specs, _ = batch_specs(x, y)
    ours, theirs = _row_shapes(specs.x), _row_shapes(rows.first())
    if ours and [len(a) for a in ours] == [len(b) for b in theirs]:
        is_like = all(m in (None, n) or n is None for a, b in zip(ours, theirs) for m, n in zip(a, b))
    else:
        is_like = not ours
    if not is_like:
        raise ValueError(
            f"Validation data must have inputs like training data, {ours}. Received: inputs of shapes {theirs}"
        )


def _row_shapes(structure: Any) -> list[tuple[int | None, ...]]:
    leaves = [leaf for leaf in keras.tree.flatten(structure) if getattr(leaf, "shape", None) is not None]
    return [tuple(leaf.shape[1:]) for leaf in leaves]
