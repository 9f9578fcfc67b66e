"""Keras optimizers with per-member learning rates, for members with independent weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens.types import Tensor

# Each of them is elementwise, with the learning rate as a factor of the update.
ELEMENTWISE = ("SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion")
OF_ALL_MEMBERS = ("clipnorm", "global_clipnorm", "use_ema", "gradient_accumulation_steps")


def why_not(optimizer: keras.optimizers.Optimizer) -> str | None:
    """Returns the reason why an optimizer cannot train several networks independently, or `None`."""
    name = type(optimizer).__name__
    if name not in ELEMENTWISE or type(optimizer) is not getattr(keras.optimizers, name):
        return f"the optimizer {name} may combine several weights"
    config = optimizer.get_config()
    used = [argument for argument in OF_ALL_MEMBERS if config.get(argument)]
    if used:
        return f"`{used[0]}` of the optimizer combines all candidates"
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        return "the optimizer excludes some weights from weight decay"
    return None


def rates_of(optimizer: keras.optimizers.Optimizer, steps: int | None) -> np.ndarray:
    """Returns the learning rate of each step, `[steps]`, or a constant one, `[1]`.

    Raises:
        ValueError: If it has a schedule and the number of steps is unknown.
    """
    schedule = getattr(optimizer, "_learning_rate", None)
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return np.array([float(keras.ops.convert_to_numpy(optimizer.learning_rate))], "float32")
    if steps is None:
        raise ValueError("the learning rate has a schedule, and the number of steps is unknown")
    every = tf.function(lambda numbers: tf.map_fn(schedule, numbers, fn_output_signature=tf.float32))
    return every(tf.range(steps, dtype=optimizer.iterations.dtype)).numpy()


class MemberRates:
    """Mixin for optimizers of `with_member_rates`."""

    rates: Any  # [steps or 1, M]
    owners: dict[Any, int | None]  # the member of each variable, `None` if its first axis is the member axis

    def update_step(self: Any, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        gradient = tf.convert_to_tensor(gradient)  # sparse for embeddings
        super().update_step(gradient, variable, self.rate_of(variable))  # type: ignore[misc]  # the optimizer's

    def _apply_weight_decay(self: Any, variables: Any) -> None:
        if self.weight_decay is not None:
            for variable in variables:
                variable.assign_sub(variable * self.weight_decay * self.rate_of(variable.value))

    def rate_of(self: Any, variable: keras.Variable) -> Any:
        """Returns the learning rate of this step, broadcastable to a variable."""
        step = tf.minimum(tf.cast(self.iterations.value, tf.int32), tf.shape(self.rates)[0] - 1)
        owner, rates = self.owners[variable.ref()], tf.cast(self.rates[step], variable.dtype)
        return rates[owner] if owner is not None else tf.reshape(rates, [-1, *[1] * (len(variable.shape) - 1)])


def with_member_rates(
    optimizer: keras.optimizers.Optimizer, ensemble_size: int, variables: Sequence[keras.Variable], owners: Any
) -> Any:
    """Returns a new optimizer of the same kind, built for these variables.

    Args:
        optimizer: An optimizer for which `why_not` returns `None`.
        ensemble_size: M.
        variables: Trainable variables.
        owners: The member of each variable, `None` for variables of all members, `[M, ...]`.
    """
    kind: Any = type(type(optimizer).__name__, (MemberRates, type(optimizer)), {})
    new = kind.from_config({**optimizer.get_config(), "learning_rate": 1.0})
    new.rates = tf.Variable(np.ones([1, ensemble_size], "float32"), trainable=False, shape=[None, ensemble_size])
    new.owners = {variable.value.ref(): owner for variable, owner in zip(variables, owners, strict=True)}
    new.build(variables)
    return new
