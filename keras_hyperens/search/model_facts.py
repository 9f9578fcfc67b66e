"""What a builder knows of the models of a hypermodel, from the one with default hyperparameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

from keras_hyperens.conversion.compiled import compile_arguments_of
from keras_hyperens.search.hypermodels import default_model
from keras_hyperens.search.model_digest import model_digests
from keras_hyperens.search.problem import Target


@dataclass(frozen=True)
class ModelFacts:
    """What all candidates have in common.

    Attributes:
        space: The configurations of the hyperparameters.
        loss: What the model was compiled with.
        output_names: Of the model, or `None`.
        digests: Fingerprints of the architecture and of each argument of `compile`.
        loss_weights: What the model was compiled with, or `None`.
    """

    space: list[Any]
    loss: Any
    output_names: list[str] | None
    digests: dict[str, str]
    loss_weights: Any = None

    def targets(self, labels: list[np.ndarray], weights: list[np.ndarray | None], names: Sequence[str]) -> list[Target]:
        """What each output should be, in the order of the labels; arguments as in `losses`."""
        known = list(names or self.output_names or ())
        known = known if len(known) == len(labels) else [str(number) for number in range(len(labels))]
        losses, factors = self.losses(names, len(labels)), self._by_output(self.loss_weights, names, len(labels))
        factors = [1.0 if factor is None else float(factor) for factor in factors]
        return [Target(*parts) for parts in zip(labels, losses, weights, known, factors)]

    def losses(self, names: Sequence[str], number: int) -> list[Any]:
        """The loss of each output, in the order of their labels.

        Args:
            names: Of the outputs in that order; none if it is that of the model.
            number: Of outputs.
        """
        return self._by_output(self.loss, names, number)

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
    """The facts, and the model that they are of; arguments as in `default_model`."""
    model, space = default_model(hypermodel, given)
    names = getattr(model, "output_names", None)
    names = None if names is None else list(names)
    loss_weights = compile_arguments_of(model).get("loss_weights")
    return ModelFacts(space, model.loss, names, model_digests(model), loss_weights), model
