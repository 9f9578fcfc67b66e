"""A trained candidate as a Keras model again."""

import contextlib
from typing import Any

import keras
import keras_tuner

from keras_hyperens import files


def trained_model(
    hypermodel: keras_tuner.HyperModel, values: dict[str, Any], weights: Any, build_config: Any, strategy: Any = None
) -> keras.Model:
    """The hypermodel's model at these hyperparameter values, with the weights of a file.

    Raises:
        files.Damaged: If the file cannot be read.
    """
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values = dict(values)
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        model = hypermodel.build(hyperparameters)
        if not model.built:
            model.build_from_config(build_config)
            model.built = bool(model.weights)  # Keras leaves it to who loads a model
        if model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)  # the file has its variables too
        try:
            model.load_weights(weights)
        except OSError as error:
            raise files.Damaged(weights, error) from error
    return model
