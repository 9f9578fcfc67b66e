"""The user's hypermodel: a function or an object, looked at before any work starts."""

import json
from typing import Any

import keras
import keras_tuner

from keras_hyperens.search.oracle import OWN
from keras_hyperens.search.oracle import is_internal


def as_hypermodel(hypermodel: Any) -> keras_tuner.HyperModel:
    """A function `build_model(hp)` as a hypermodel, a hypermodel as it is."""
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
    """The model with default hyperparameters, and the configurations of the hyperparameters.

    Args:
        hypermodel: The user's.
        given: Hyperparameters that the user set; it must use them all.

    Raises:
        ValueError: If it cannot be built, returns something else than a compiled model, leaves some out, or gives one
            a name that tuners use themselves.
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
            f"The hypermodel does not use every hyperparameter given; it uses {sorted(names)}. "
            f"Received: {sorted(unused)}"
        )
    taken = sorted(filter(is_internal, names))
    if taken:
        raise ValueError(
            f"Hyperparameters must have names that tuners do not use themselves and that do not begin with {OWN!r}. "
            f"Received: {taken}"
        )
    return model, json.loads(json.dumps(hyperparameters.get_config()["space"]))
