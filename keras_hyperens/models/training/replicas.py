"""Operations of a training step that are valid and equivalent for one and for many replicas."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_hyperens.types import Tensor


def assign_all(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    """Assigns values that are equal on all replicas, inside a replica."""
    variables = [variable.value for variable in variables]
    context = tf.distribute.get_replica_context()
    if context is None or tf.distribute.get_strategy().num_replicas_in_sync == 1:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(tf.cast(value, variable.dtype))
        return

    def update(strategy: tf.distribute.Strategy, values: Sequence[Any]) -> None:
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(
                variable, lambda copy, new: copy.assign(tf.cast(new, copy.dtype)), args=(value,), group=False
            )

    context.merge_call(update, args=(list(values),))


def summed(values: Sequence[Any]) -> Sequence[Any]:
    """Sums over all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, list(values))


def replica_number() -> Tensor:
    """Returns the index of this replica, 0 outside of any strategy."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def all_finite(variables: Sequence[keras.Variable]) -> Tensor:
    """Whether all floating-point variables are finite."""
    values = [tf.convert_to_tensor(variable.value) for variable in variables]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values if value.dtype.is_floating])


def values_of(gradient: Any) -> Tensor:
    """Returns the numbers of a gradient, also of a sparse one."""
    return getattr(gradient, "values", gradient)


def assign_where(keeps: Sequence[Any], variables: Sequence[keras.Variable], before: Sequence[Any]) -> None:
    """Restores previous values, inside a replica, where variables do not keep their new ones."""
    kept = zip(keeps, variables, before, strict=True)
    assign_all(variables, [tf.where(keep, tf.convert_to_tensor(variable), old) for keep, variable, old in kept])


def equally_finite(gradients: Sequence[Any], optimizer: keras.optimizers.Optimizer) -> Sequence[Any]:
    """Returns the gradients of this replica, or NaN if those of any replica are not finite.

    Only for a `LossScaleOptimizer`, which skips a step based on the gradients of a single replica.
    """
    context = tf.distribute.get_replica_context()
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or context is None or replicas == 1:
        return gradients
    values = [values_of(gradient) for gradient in gradients if gradient is not None]
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
    failures = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32))
    poison = tf.where(failures > 0, float("nan"), 0.0)
    first = next(number for number, gradient in enumerate(gradients) if gradient is not None)  # one suffices
    poisoned = tf.convert_to_tensor(gradients[first]) + tf.cast(poison, gradients[first].dtype)
    return [*gradients[:first], poisoned, *gradients[first + 1 :]]
