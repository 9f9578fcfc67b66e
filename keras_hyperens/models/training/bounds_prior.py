"""Prior that keeps bounds near their initial values if tuning samples provide too little evidence."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution
from keras_hyperens.types import Tensor

MEMORY = 0.98  # of the running averages: about fifty tuning batches count


class BoundsPrior(keras.layers.Layer):
    """Pull towards the initial bounds, with a strength equal to the uncertainty of the tuning gradient.

    The gradient g of a bound depends on the tuning samples. Its standard error s is estimated from the differences
    between the n batches of the tuning samples: `s = sd / sqrt(n)`. With the pull `s (b - b_0) / h` added to g, the
    bound b converges to `b - b_0 = -h g / s`: a gradient of one standard error moves it by h, half the width of its
    initial interval, and a certain gradient moves it to the end of its range.

    Args:
        distribution: The initial `HyperparameterDistribution` with these bounds.
    """

    def __init__(self, distribution: HyperparameterDistribution, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)
        bounds = ops.convert_to_numpy(ops.stack(distribution.bounds(), axis=1))  # [M, 2, P]
        self.half_widths = distribution.initial_half_widths  # [P]
        self.initial = self._add("initial", bounds)
        self.mean = self._add("mean", np.zeros_like(bounds))  # of gradients g
        self.square = self._add("square", np.zeros_like(bounds))  # of their squares
        self.share = self._add("share", np.zeros((), "float32"))  # weight of gradients in both averages
        self.built = True

    def _add(self, name: str, value: np.ndarray) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=value.shape,
            initializer=lambda *_, **__: ops.convert_to_tensor(value),
            trainable=False,
            autocast=False,
        )

    @property
    def state(self) -> list[keras.Variable]:
        """Returns all variables that a tuning step changes."""
        return [self.mean, self.square, self.share]

    def updated(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Returns new values of the state, for gradients of the lower and the upper bounds, `[M, P]` each.

        Non-finite gradients, caused by a large loss scale, change nothing.
        """
        gradient = tf.stack(gradients, axis=1)
        part = tf.where(tf.reduce_all(tf.math.is_finite(gradient)), 1 - MEMORY, 0.0)
        gradient = tf.where(part > 0, gradient, 0.0)
        old = [tf.convert_to_tensor(variable) for variable in self.state]
        new = [gradient, tf.square(gradient), tf.ones(())]
        return [before + part * (now - before) for before, now in zip(old, new, strict=True)]

    def pull(self, bounds: Sequence[Tensor], state: Sequence[Tensor], num_batches: Tensor) -> list[Tensor]:
        """Returns the terms added to the gradients of the lower and the upper bounds.

        Args:
            bounds: Lower and upper bounds, `[M, P]` each.
            state: The values returned by `updated`.
            num_batches: n, the number of batches of the tuning samples.
        """
        mean, square, share = state
        share = tf.maximum(share, 1e-30)
        variance = tf.maximum(square / share - tf.square(mean / share), 0.0)
        error = tf.sqrt(variance / num_batches)
        moved = tf.stack(bounds, axis=1) - tf.convert_to_tensor(self.initial)
        return tf.unstack(error * moved / self.half_widths, axis=1)
