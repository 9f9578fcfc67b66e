"""What can be checked before the first candidate is trained: shapes, labels, one scoring of a made-up prediction."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import Value
from keras_hyperens.models.data import batch_specs
from keras_hyperens.models.labels import check_classes
from keras_hyperens.search.scorer import Target
from keras_hyperens.search.validation_rows import ValidationRows
from keras_hyperens.search.validation_rows import check_lengths


def check_scoring(
    model: keras.Model,
    rows: ValidationRows,
    targets: list[Target],
    score: Callable[[list[np.ndarray], list[Likelihood]], float],
    y: Any = None,
) -> None:
    """Scores a made-up prediction of the validation rows.

    Args:
        model: One like the candidates; it is spoiled.
        rows: The validation rows.
        targets: Of each output.
        score: Of a prediction of each output, and their likelihoods.
        y: The labels of the training rows.

    Raises:
        ValueError: If the model cannot predict these rows, the labels cannot be scored, or nothing says what an output
            means.
    """
    model.run_eagerly, model.jit_compile = True, False  # one row is not worth a graph
    first, likelihoods = _first_prediction(model, rows)
    number = len(likelihoods)
    if len(targets) != number:
        raise ValueError(f"There must be labels for each of {number} outputs. Received: labels for {len(targets)}")
    shapes = [(len(target.labels), *output.shape[1:]) for target, output in zip(targets, first)]
    for target, likelihood, shape in zip(targets, likelihoods, shapes):
        _check_meaning(target, likelihood, shape, rows.output_activation)
    made_up = [np.broadcast_to(each.neutral(shape[-1]), shape) for each, shape in zip(likelihoods, shapes)]
    try:
        score(made_up, likelihoods)
    except Exception as error:  # of a metric or a loss of the user's, any
        raise ValueError(f"The validation data cannot be scored: {error}") from error
    flat = keras.tree.flatten(y)
    for labels, target, likelihood, shape in zip(flat, targets, likelihoods, shapes):
        check_classes(labels, target.loss, likelihood, shape, "training data")


def _first_prediction(model: keras.Model, rows: ValidationRows) -> tuple[list[np.ndarray], list[Likelihood]]:
    try:
        outputs = model.predict(rows.first(_batch_size(model))[0], verbose=0)
    except Exception as error:
        raise ValueError(f"A model of the hypermodel cannot predict the validation data: {error}") from error
    return rows.predictions(model, outputs, "float32")


def _batch_size(model: keras.Model) -> int:
    """One row, unless the model has a size of its own."""
    inputs = getattr(model, "inputs", None)
    return (inputs[0].shape[0] if inputs else None) or 1


def check_objective(model: keras.Model, rows: ValidationRows, objective: Any) -> None:
    """Raises a `ValueError` for an objective that no epoch will report.

    Args:
        model: After `check_scoring`.
        rows: The validation rows.
        objective: KerasTuner's: a name, an object, or a list of these.
    """
    x, y = rows.first(_batch_size(model))
    try:
        known = list(model.evaluate(x, y, verbose=0, return_dict=True))
    except Exception:  # it may need more than a row: then the first training says so
        return
    reported = [*known, *(f"val_{name}" for name in known)]
    for each in objective if isinstance(objective, list | tuple) else [objective]:
        name = getattr(each, "name", each)
        if isinstance(name, str) and name not in reported:
            raise ValueError(f"`objective` must be one of {reported}. Received: objective={name!r}")


def _check_meaning(target: Target, likelihood: Likelihood, shape: tuple[int, ...], output_activation: Any) -> None:
    """Raises a `ValueError` for labels that look like classes where nothing says that outputs are probabilities."""
    is_said = likelihood != Value() or output_activation != "auto"
    if is_said or target.loss is None or Value.is_implied_by(target.loss):
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
    ours, theirs = (_row_shapes(batch_specs(part, None)[0].x) for part in (x, rows.first()[0]))
    if ours and theirs and not _are_alike(ours, theirs):
        raise ValueError(
            f"Validation data must have inputs like training data, {ours}. Received: inputs of shapes {theirs}"
        )


def _row_shapes(specs: Any) -> list[tuple[int | None, ...]]:
    """The shape of a row of each input; Keras makes a column of plain numbers."""
    return [tuple(spec.shape[1:]) or (1,) for spec in keras.tree.flatten(specs) if spec is not None]


def _are_alike(ours: list[tuple[int | None, ...]], theirs: list[tuple[int | None, ...]]) -> bool:
    if [len(a) for a in ours] != [len(b) for b in theirs]:
        return False
    return all(None in (m, n) or m == n for a, b in zip(ours, theirs) for m, n in zip(a, b))
