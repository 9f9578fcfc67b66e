"""Keras' optimizers with a learning rate of each member's own, for networks whose members share no weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens.types import Tensor

# Each treats every element of a variable by itself, and takes the learning rate as a factor of its update.
ELEMENTWISE = ("SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion")
OF_ALL_MEMBERS = ("clipnorm", "global_clipnorm", "use_ema", "gradient_accumulation_steps")


def why_not(optimizer: keras.optimizers.Optimizer) -> str | None:
    """Why an optimizer cannot train several networks as if each were alone; `None` if it can."""
    name = type(optimizer).__name__
    if name not in ELEMENTWISE or type(optimizer) is not getattr(keras.optimizers, name):
        return f"the optimizer {name} may look at several weights at once"
    config = optimizer.get_config()
    used = [argument for argument in OF_ALL_MEMBERS if config.get(argument)]
    if used:
        return f"`{used[0]}` of the optimizer looks at all candidates at once"
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        return "the optimizer leaves some weights out of its decay"
    return None


def rates_of(optimizer: keras.optimizers.Optimizer, steps: int | None) -> np.ndarray:
    """The learning rate of each step, `[steps]`, or of all of them, `[1]`.

    Raises:
        ValueError: If it changes and nobody knows how many steps there will be.
    """
    schedule = getattr(optimizer, "_learning_rate", None)
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return np.array([float(keras.ops.convert_to_numpy(optimizer.learning_rate))], "float32")
    if steps is None:
        raise ValueError("the learning rate has a schedule, and the number of steps is not known")
    every = tf.function(lambda numbers: tf.map_fn(schedule, numbers, fn_output_signature=tf.float32))
    return every(tf.range(steps, dtype=optimizer.iterations.dtype)).numpy()


class MemberRates:
    """What `with_member_rates` adds to an optimizer."""

    rates: Any  # [steps or 1, M]
    owners: dict[Any, int | None]  # of each variable the member that owns it, `None` if its first axis is that of all

    def update_step(self: Any, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        gradient = tf.convert_to_tensor(gradient)  # of an embedding it is a sum of rows
        super().update_step(gradient, variable, self.rate_of(variable))  # type: ignore[misc]  # the optimizer's

    def _apply_weight_decay(self: Any, variables: Any) -> None:
        if self.weight_decay is not None:
            for variable in variables:
                variable.assign_sub(variable * self.weight_decay * self.rate_of(variable.value))

    def rate_of(self: Any, variable: keras.Variable) -> Any:
        """The learning rate of this step, beside a variable."""
        step = tf.minimum(tf.cast(self.iterations.value, tf.int32), tf.shape(self.rates)[0] - 1)
        owner, rates = self.owners[variable.ref()], tf.cast(self.rates[step], variable.dtype)
        return rates[owner] if owner is not None else tf.reshape(rates, [-1, *[1] * (len(variable.shape) - 1)])


def with_member_rates(
    optimizer: keras.optimizers.Optimizer, ensemble_size: int, variables: Sequence[keras.Variable], owners: Any
) -> Any:
    """A new optimizer like this one, built for these variables.

    Args:
        optimizer: One of which `why_not` says nothing.
        ensemble_size: M.
        variables: Trainable.
        owners: For each variable the member that owns it, `None` if it is of all, `[M, ...]`.
    """
    kind: Any = type(type(optimizer).__name__, (MemberRates, type(optimizer)), {})
    new = kind.from_config({**optimizer.get_config(), "learning_rate": 1.0})
    new.rates = tf.Variable(np.ones([1, ensemble_size], "float32"), trainable=False, shape=[None, ensemble_size])
    new.owners = {variable.value.ref(): owner for variable, owner in zip(variables, owners, strict=True)}
    new.build(variables)
    return new
