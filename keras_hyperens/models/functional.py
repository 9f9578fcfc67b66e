"""Conversion of an ensemble to a plain Keras model: a graph of its members and Keras operations."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hyperens import masks
from keras_hyperens.models.export import input_specs
from keras_hyperens.models.uncertainty_outputs import Measures
from keras_hyperens.models.uncertainty_outputs import describe


def functional(ensemble: Any, members: Sequence[keras.Model], measures: Measures | None) -> keras.Model:
    """Returns the plain Keras model of `Ensemble.to_functional`.

    Args:
        ensemble: The ensemble.
        members: Plain Keras models of its members, with raw outputs, which become parts of the new model.
        measures: As in `Ensemble.to_functional`.
    """
    inputs = keras.tree.map_structure(_symbolic, input_specs(ensemble))
    each = []
    for k, member in enumerate(members):
        member.name = f"member_{k}"  # parts of a graph require unique names
        each.append(member(inputs))
    raw = masks.stacked(each)
    if measures is None:
        outputs = ensemble._combine(ensemble._predictions_of(raw))
    else:
        outputs = describe(ensemble, raw, measures)
    return keras.Model(inputs, outputs, name=ensemble.name)


def _symbolic(spec: Any) -> Any:
    return keras.Input(tuple(spec.shape[1:]), dtype=spec.dtype.name, name=spec.name)
