"""What can be checked before the first candidate is trained: shapes, labels, one scoring of a made-up prediction."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.models.data import batch_specs
from keras_hyperens.models.labels import check_classes
from keras_hyperens.models.labels import check_meaning
from keras_hyperens.search.scorer import Target
from keras_hyperens.search.validation_rows import ValidationRows
from keras_hyperens.search.validation_rows import check_lengths
from keras_hyperens.search.validation_rows import fixed_batch_size
from keras_hyperens.types import Shape


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
        if rows.output_activation == "auto":
            check_meaning(target.labels, target.loss, likelihood, shape)
    made_up = [np.broadcast_to(each.neutral(shape[-1]), shape) for each, shape in zip(likelihoods, shapes)]
    try:
        score(made_up, likelihoods)
    except Exception as error:  # of a metric or a loss of the user's, any
        raise ValueError(f"The validation data cannot be scored: {error}") from error
    flat = _in_order(y, targets, getattr(model, "output_names", None))
    for labels, target, likelihood, shape in zip(flat, targets, likelihoods, shapes):
        check_classes(labels, target.loss, likelihood, shape, "training data")


def _in_order(y: Any, targets: list[Target], output_names: Any) -> list[Any]:
    """Labels of the training rows in the order of the targets, which is that of names where one of them has names."""
    flat = keras.tree.flatten(y)
    names = sorted(y) if isinstance(y, dict) else output_names or ()
    by_name = dict(zip(names, flat)) if len(names) == len(flat) == len(targets) else {}
    return [by_name[target.name] for target in targets] if {each.name for each in targets} == {*by_name} else flat


def _first_prediction(model: keras.Model, rows: ValidationRows) -> tuple[list[np.ndarray], list[Likelihood]]:
    try:
        outputs = model.predict(rows.first(fixed_batch_size(model) or 1)[0], verbose=0)
    except Exception as error:
        raise ValueError(f"A model of the hypermodel cannot predict the validation data: {error}") from error
    return rows.predictions(model, outputs, "float32")


def check_objective(model: keras.Model, rows: ValidationRows, objective: Any) -> None:
    """Raises a `ValueError` for an objective that no epoch will report.

    Args:
        model: After `check_scoring`.
        rows: The validation rows.
        objective: KerasTuner's: a name, an object, or a list of these.
    """
    x, y = rows.first(fixed_batch_size(model) or 1)
    try:
        known = list(model.evaluate(x, y, verbose=0, return_dict=True))
    except Exception:  # it may need more than a row: then the first training says so
        return
    reported = [*known, *(f"val_{name}" for name in known)]
    for each in objective if isinstance(objective, list | tuple) else [objective]:
        name = getattr(each, "name", each)
        if isinstance(name, str) and name not in reported:
            raise ValueError(f"`objective` must be one of {reported}. Received: objective={name!r}")


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


def _row_shapes(specs: Any) -> list[Shape]:
    """The shape of a row of each input; Keras makes a column of plain numbers."""
    return [tuple(spec.shape[1:]) or (1,) for spec in keras.tree.flatten(specs) if spec is not None]


def _are_alike(ours: list[Shape], theirs: list[Shape]) -> bool:
    if [len(a) for a in ours] != [len(b) for b in theirs]:
        return False
    return all(None in (m, n) or m == n for a, b in zip(ours, theirs) for m, n in zip(a, b))
