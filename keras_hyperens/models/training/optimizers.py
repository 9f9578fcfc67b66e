"""Optimizers of a hyper-batch ensemble: of its weights, and of the bounds of its hyperparameters."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hyperens.models.network import hyper_batch_layers


def checked_optimizer(name: str, given: Any) -> keras.optimizers.Optimizer:
    """Returns the optimizer for the value of an argument with this name.

    Raises:
        ValueError: If it means none.
    """
    try:
        optimizer = keras.optimizers.get(given)
    except ValueError:
        optimizer = None
    if optimizer is None:
        raise ValueError(f"`{name}` must be a Keras optimizer, or the name of one. Received: {name}={given!r}")
    return optimizer


def default_tuning_optimizer() -> keras.optimizers.Optimizer:
    """Returns Adam with a learning rate of 3e-2 / (1 + t / 200)."""
    return keras.optimizers.Adam(keras.optimizers.schedules.InverseTimeDecay(3e-2, 200, 1.0))


def scaled_like(main: keras.optimizers.Optimizer, tuning: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns the tuning optimizer, with loss scaling if the main optimizer has it.

    Raises:
        ValueError: If both are the same.
    """
    if tuning is main:
        raise ValueError("`tuning_optimizer` and `optimizer` must be different objects")
    is_scaled = keras.optimizers.LossScaleOptimizer
    if not isinstance(main, is_scaled) or isinstance(tuning, is_scaled):
        return tuning
    return is_scaled(tuning, name="tuning_loss_scale_optimizer")


def build_optimizers(network: keras.Model, *pairs: tuple[Any, Sequence[keras.Variable]]) -> None:
    """Creates the variables of optimizers, so that files can fill them before the first step.

    Args:
        network: Network whose fast weights do not decay.
        *pairs: Optimizers and their variables.
    """
    for optimizer, variables in pairs:
        _spare_fast_weights(network, optimizer)
        if not optimizer.built:
            optimizer.build(variables)


def _spare_fast_weights(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Excludes fast weights, which are near 1, from weight decay, which would reduce the response to embeddings."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not getattr(inner, "weight_decay", None) or inner.built:
        return
    chosen: set[Any] = getattr(inner, "_exclude_from_weight_decay", set())  # kept: set by the user
    pattern = getattr(inner, "_exclude_from_weight_decay_pattern", None)
    layers = hyper_batch_layers(network)
    inner.exclude_from_weight_decay(
        var_list=[each for layer in layers for each in layer.fast_weights + layer.embeddings]
    )
    inner._exclude_from_weight_decay |= chosen
    inner._exclude_from_weight_decay_pattern = pattern
