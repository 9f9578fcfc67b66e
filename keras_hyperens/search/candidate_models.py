"""The hypermodel, and common properties of its models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner

from keras_hyperens.conversion.compiled import compile_arguments_of
from keras_hyperens.search.digests import model_digests
from keras_hyperens.search.tuners import OWN
from keras_hyperens.search.tuners import is_internal


def as_hypermodel(hypermodel: Any) -> keras_tuner.HyperModel:
    """Returns a hypermodel for a function `build_model(hp)`; hypermodels are returned unchanged."""
    if isinstance(hypermodel, keras_tuner.HyperModel):
        return hypermodel
    if not callable(hypermodel):
        raise TypeError(
            "`hypermodel` must be a function `build_model(hp)` or a `keras_tuner.HyperModel`. "
            f"Received: hypermodel={hypermodel!r}"
        )
    return _FromFunction(hypermodel)


class _FromFunction(keras_tuner.HyperModel):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        return self.function(hp)


def default_model(
    hypermodel: keras_tuner.HyperModel, given: keras_tuner.HyperParameters | None
) -> tuple[keras.Model, list[Any]]:
    """Returns the model with default hyperparameters, and the configurations of the hyperparameters.

    Args:
        hypermodel: The hypermodel.
        given: Hyperparameters set by the user, all of which it must use.

    Raises:
        ValueError: If it cannot be built, does not return a compiled model, does not use some hyperparameters, or uses
            a reserved name.
    """
    hyperparameters = keras_tuner.HyperParameters()
    try:
        model = hypermodel.build(hyperparameters)
    except Exception as error:
        raise ValueError(
            f"The hypermodel cannot be built with its default hyperparameters {hyperparameters.values}: {error}"
        ) from error
    if not isinstance(model, keras.Model) or not model.compiled:
        raise ValueError(f"The hypermodel must return a compiled Keras model. Received: {model!r}")
    names = {each.name for each in hyperparameters.space}
    unused = {each.name for each in given.space} - names if given is not None else set()
    if unused and not hyperparameters.inactive_scopes:
        raise ValueError(
            f"The hypermodel does not use all given hyperparameters; it uses {sorted(names)}. "
            f"Received: {sorted(unused)}"
        )
    taken = sorted(filter(is_internal, names))
    if taken:
        raise ValueError(
            f"Hyperparameter names must not be reserved by tuners and must not begin with {OWN!r}. Received: {taken}"
        )
    return model, json.loads(json.dumps(hyperparameters.get_config()["space"]))


@dataclass(frozen=True)
class ModelFacts:
    """Common properties of all candidates.

    Attributes:
        space: Configurations of the hyperparameters.
        loss: Compiled loss.
        output_names: Output names of the model, or `None`.
        digests: Fingerprints of the architecture and of each argument of `compile`.
        loss_weights: Compiled loss weights, or `None`.
    """

    space: list[Any]
    loss: Any
    output_names: list[str] | None
    digests: dict[str, str]
    loss_weights: Any = None

    def names(self, given: Sequence[str], number: int) -> list[str]:
        """Returns the names of outputs: those given, those of the model, or numbers."""
        known = list(given or self.output_names or ())
        return known if len(known) == number else [str(place) for place in range(number)]

    def losses(self, names: Sequence[str], number: int) -> list[Any]:
        """Returns the loss of each output, in the order of their labels.

        Args:
            names: Names of the outputs in that order; empty for the order of the model.
            number: Number of outputs.
        """
        return self._by_output(self.loss, names, number)

    def factors(self, names: Sequence[str], number: int) -> list[float]:
        """Returns the weight of each output's loss in the compiled loss; arguments as in `losses`."""
        given = self._by_output(self.loss_weights, names, number)
        return [1.0 if factor is None else float(factor) for factor in given]

    def _by_output(self, compiled: Any, names: Sequence[str], number: int) -> list[Any]:
        names = list(names or self.output_names or ())
        if isinstance(compiled, dict):
            return list(compiled.values()) if number == 1 else [compiled.get(name) for name in names]
        if not isinstance(compiled, list | tuple):
            return [compiled] * number
        by_name = dict(zip(self.output_names or (), compiled))
        return [by_name[name] for name in names] if set(names) == set(by_name) else list(compiled)


def facts_and_model(
    hypermodel: keras_tuner.HyperModel, given: keras_tuner.HyperParameters | None
) -> tuple[ModelFacts, keras.Model]:
    """Returns the properties, and the model with default hyperparameters; arguments as in `default_model`."""
    model, space = default_model(hypermodel, given)
    names = getattr(model, "output_names", None)
    names = None if names is None else list(names)
    loss_weights = compile_arguments_of(model).get("loss_weights")
    return ModelFacts(space, model.loss, names, model_digests(model), loss_weights), model
