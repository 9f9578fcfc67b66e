"""Checks before the first training run: shapes, labels, and the score of an untrained model."""

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
    """Scores the predictions of an untrained model for validation samples.

    Args:
        model: A model like the candidates; it is modified.
        rows: The validation data.
        targets: Targets of each output.
        score: Function of predictions of each output, and their likelihoods.
        y: Labels of the training data.

    Raises:
        ValueError: If the model cannot predict these samples, the labels cannot be scored, or the kind of an output is
            unknown.
    """
    model.run_eagerly, model.jit_compile = True, False  # a graph is not worthwhile for one sample
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
    except Exception as error:  # a custom metric or loss can raise any error
        raise ValueError(f"The validation data cannot be scored: {error}") from error
    flat = _in_order(y, targets, getattr(model, "output_names", None))
    for labels, target, likelihood, shape in zip(flat, targets, likelihoods, shapes):
        check_classes(labels, target.loss, likelihood, shape, "training data")


def _in_order(y: Any, targets: list[Target], output_names: Any) -> list[Any]:
    """Returns training labels in the order of the targets, which is that of names if there are any."""
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
    """Raises a `ValueError` for an objective that is not reported by epochs.

    Args:
        model: A model after `check_scoring`.
        rows: The validation data.
        objective: KerasTuner objective: a name, an object, or a list of these.
    """
    x, y = rows.first(fixed_batch_size(model) or 1)
    try:
        known = list(model.evaluate(x, y, verbose=0, return_dict=True))
    except Exception:  # it may need more than one sample: the first training run then raises the error
        return
    reported = [*known, *(f"val_{name}" for name in known)]
    for each in objective if isinstance(objective, list | tuple) else [objective]:
        name = getattr(each, "name", each)
        if isinstance(name, str) and name not in reported:
            raise ValueError(f"`objective` must be one of {reported}. Received: objective={name!r}")


def check_training_data(x: Any, y: Any, sample_weight: Any, rows: ValidationRows) -> None:
    """Raises a `ValueError` unless training arrays have equal lengths, and the shapes of the validation data."""
    if x is None or hasattr(x, "__next__"):  # generators must not be started
        return
    if not isinstance(x, keras.utils.PyDataset) and not hasattr(x, "element_spec"):
        check_lengths(x, y, sample_weight, "training data")
    ours, theirs = (_row_shapes(batch_specs(part, None)[0].x) for part in (x, rows.first()[0]))
    if ours and theirs and not _are_alike(ours, theirs):
        raise ValueError(
            f"Validation data must have inputs like training data, {ours}. Received: inputs of shapes {theirs}"
        )


def _row_shapes(specs: Any) -> list[Shape]:
    """Returns the shape of one sample of each input; Keras converts scalars to a column."""
    return [tuple(spec.shape[1:]) or (1,) for spec in keras.tree.flatten(specs) if spec is not None]


def _are_alike(ours: list[Shape], theirs: list[Shape]) -> bool:
    if [len(a) for a in ours] != [len(b) for b in theirs]:
        return False
    return all(None in (m, n) or m == n for a, b in zip(ours, theirs) for m, n in zip(a, b))
