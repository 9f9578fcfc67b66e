"""Updates of variables inside a training step that are legal with one replica and with many."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def assign_all(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    """Assigns values that are equal on all replicas, from inside a replica."""
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


def replica_number() -> Any:
    """The number of this replica, 0 outside any strategy."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group
