"""Updates of Keras optimizers with fused TensorFlow operations: equal numbers with a quarter of the operations.

Keras uses about 27 operations to update one variable, and a network of members has many small variables.
"""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_hyperens.types import Tensor


@contextmanager
def fused_updates(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Context manager: `optimizer.apply_gradients` updates variables with one operation if it equals the Keras update.

    The other parts are those of Keras: clipping, weight decay, averages, accumulation, loss scaling, schedules and the
    variables in files. Other optimizers, subclasses, sparse gradients, half-precision variables, and updates under a
    `tf.distribute.Strategy` are unchanged.

    Args:
        optimizer: A built optimizer. For a `LossScaleOptimizer`, its inner optimizer is used.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    update = _fused_update(inner)
    if update is None or tf.distribute.has_strategy():
        yield
        return
    plain = inner.update_step

    def update_step(gradient: Any, variable: keras.Variable, learning_rate: Tensor) -> None:
        if isinstance(gradient, tf.IndexedSlices) or variable.dtype not in (tf.float32, tf.float64):
            plain(gradient, variable, learning_rate)
        else:
            update(tf.cast(gradient, variable.dtype), variable, tf.cast(learning_rate, variable.dtype))

    inner.update_step = update_step
    try:
        yield
    finally:
        del inner.update_step


Update = Callable[[Any, Any, Any], None]


def _fused_update(optimizer: keras.optimizers.Optimizer) -> Update | None:
    """Returns the update of an optimizer as one operation; `None` without an equal operation."""
    if type(optimizer) is keras.optimizers.SGD:
        return _momentum(optimizer) if optimizer.momentum else _gradient_descent
    if type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not optimizer.amsgrad:
        return _adam(optimizer)
    return None


def _gradient_descent(gradient: Any, variable: keras.Variable, learning_rate: Tensor) -> None:
    tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=learning_rate, delta=gradient)


def _momentum(optimizer: keras.optimizers.Optimizer) -> Update:
    def update(gradient: Any, variable: keras.Variable, learning_rate: Tensor) -> None:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=_slot(optimizer, optimizer.momentums, variable),
            lr=learning_rate,
            grad=gradient,
            momentum=tf.constant(optimizer.momentum, variable.dtype),
            use_nesterov=optimizer.nesterov,
        )

    return update


def _adam(optimizer: keras.optimizers.Optimizer) -> Update:
    powers: dict[Any, tuple[Any, Any]] = {}  # by dtype: shared by all variables of a step

    def update(gradient: Any, variable: keras.Variable, learning_rate: Tensor) -> None:
        dtype = variable.dtype
        betas = tf.constant(optimizer.beta_1, dtype), tf.constant(optimizer.beta_2, dtype)
        if dtype not in powers:
            step = tf.cast(tf.convert_to_tensor(optimizer.iterations) + 1, dtype)
            powers[dtype] = tf.pow(betas[0], step), tf.pow(betas[1], step)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_slot(optimizer, optimizer._momentums, variable),
            v=_slot(optimizer, optimizer._velocities, variable),
            beta1_power=powers[dtype][0],
            beta2_power=powers[dtype][1],
            lr=learning_rate,
            beta1=betas[0],
            beta2=betas[1],
            epsilon=tf.constant(optimizer.epsilon, dtype),
            grad=gradient,
        )

    return update


def _slot(optimizer: keras.optimizers.Optimizer, slots: Any, variable: keras.Variable) -> Any:
    return slots[optimizer._get_variable_index(variable)].value.handle
