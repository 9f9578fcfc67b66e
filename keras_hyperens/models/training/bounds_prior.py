"""What keeps bounds near their initial values where tuning samples say too little to move them."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution
from keras_hyperens.types import Tensor

MEMORY = 0.98  # of the running averages: some fifty tuning batches count


class BoundsPrior(keras.layers.Layer):
    """A pull to the initial bounds, as strong as the gradient of the tuning loss is uncertain.

    Other tuning samples would have given another gradient g of a bound. Its standard error s follows from how gradients
    differ between the n batches that tuning samples make: `s = sd / sqrt(n)`. With the pull `s (b - b_0) / h` added to
    g, the bound b rests where `b - b_0 = -h g / s`: a gradient of one standard error moves it by h, half the width of
    its initial interval, and one that is certain moves it as far as it goes.

    Args:
        distribution: The `HyperparameterDistribution` whose bounds these are, as it begins.
    """

    def __init__(self, distribution: HyperparameterDistribution, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)
        bounds = ops.convert_to_numpy(ops.stack(distribution.bounds(), axis=1))  # [M, 2, P]
        self.half_widths = distribution.initial_half_widths  # [P]
        self.initial = self._add("initial", bounds)
        self.mean = self._add("mean", np.zeros_like(bounds))  # of gradients g
        self.square = self._add("square", np.zeros_like(bounds))  # of their squares
        self.share = self._add("share", np.zeros((), "float32"))  # of gradients in both; the rest is the initial 0
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
        """All that a tuning step changes."""
        return [self.mean, self.square, self.share]

    def updated(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """New values of the state, after gradients of the lower and the upper bounds, `[M, P]` each.

        One that is not finite, of a loss scale that is too large, changes nothing.
        """
        gradient = tf.stack(gradients, axis=1)
        part = tf.where(tf.reduce_all(tf.math.is_finite(gradient)), 1 - MEMORY, 0.0)
        gradient = tf.where(part > 0, gradient, 0.0)
        old = [tf.convert_to_tensor(variable) for variable in self.state]
        new = [gradient, tf.square(gradient), tf.ones(())]
        return [before + part * (now - before) for before, now in zip(old, new, strict=True)]

    def pull(self, bounds: Sequence[Tensor], state: Sequence[Tensor], num_batches: Tensor) -> list[Tensor]:
        """What is added to the gradients of the lower and the upper bounds.

        Args:
            bounds: Lower and upper ones, `[M, P]` each.
            state: The values that `updated` gave.
            num_batches: n, how many batches tuning samples make.
        """
        mean, square, share = state
        share = tf.maximum(share, 1e-30)
        variance = tf.maximum(square / share - tf.square(mean / share), 0.0)
        error = tf.sqrt(variance / num_batches)
        moved = tf.stack(bounds, axis=1) - tf.convert_to_tensor(self.initial)
        return tf.unstack(error * moved / self.half_widths, axis=1)
