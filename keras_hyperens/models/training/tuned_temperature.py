"""Temperature of each output, fitted by tuning steps, so that hyperparameters need not calibrate."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import masks
from keras_hyperens.calibration.temperature import LARGEST
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

MEMORY = 0.95  # of the averages over tuning steps: about twenty batches count
STEP = 0.05  # of logarithms, for differences of the loss
LARGEST_CHANGE = float(np.log(2.0))  # of a logarithm in one step


@keras.saving.register_keras_serializable("keras_hyperens")
class TunedTemperature(keras.layers.Layer):
    """One temperature T per output at the minimum of the tuning loss, without a learning rate.

    The negative log-likelihood of probabilities `p ** (1 / T)` and of a Gaussian with T times the variance is convex in
    `q = 1 / T`. Each tuning batch provides its slope a and curvature b at the current q; the temperature is set to the
    minimum of the weighted sum of these parabolas, `q = mean(b q - a) / mean(b)`, with weights that decay by a factor
    of 19/20 per batch.

    Args:
        num_outputs: Number of outputs with their own temperature.
    """

    def __init__(self, num_outputs: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.num_outputs = num_outputs
        self.logarithms = self._add("logarithms")
        self.curvature = self._add("curvature")  # mean(b)
        self.moment = self._add("moment")  # mean(b q - a)
        self.built = True

    def _add(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name, shape=(self.num_outputs,), initializer="zeros", trainable=False, autocast=False
        )

    @property
    def state(self) -> list[keras.Variable]:
        """Returns all variables that a tuning step changes."""
        return [self.logarithms, self.curvature, self.moment]

    def of_raw(self, raw: TensorTree, likelihoods: LikelihoodTree, logarithms: Tensor | None = None) -> TensorTree:
        """Returns raw outputs at these temperatures, or at those with the given logarithms.

        Args:
            raw: A structure of outputs, `[..., C]`.
            likelihoods: Likelihood of each output, in that structure.
            logarithms: `[outputs]`.
        """
        return self._applied(
            lambda likelihood, *of_output: likelihood.temper_raw(*of_output), raw, likelihoods, logarithms
        )

    def of_prediction(self, prediction: TensorTree, likelihoods: LikelihoodTree) -> TensorTree:
        """Returns predictions at these temperatures."""
        return self._applied(lambda likelihood, *of_output: likelihood.temper(*of_output), prediction, likelihoods)

    def _applied(
        self,
        tempered: Callable[..., Tensor],
        outputs: TensorTree,
        likelihoods: LikelihoodTree,
        logarithms: Tensor | None = None,
    ) -> TensorTree:
        logarithms = self.logarithms if logarithms is None else logarithms
        temperatures = ops.exp(ops.convert_to_tensor(logarithms))
        last = temperatures.shape[0] - 1  # a subclassed network has one temperature for all outputs
        flat = zip(keras.tree.flatten(outputs), keras.tree.flatten(likelihoods), strict=True)
        changed = [
            masks.with_mask(tempered(likelihood, output, temperatures[min(number, last)]), masks.mask_of(output))
            for number, (output, likelihood) in enumerate(flat)
        ]
        return keras.tree.pack_sequence_as(outputs, changed)

    def slopes_and_curvatures(self, loss: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Returns derivatives of the loss with respect to the inverse temperatures, `[outputs]` each.

        Args:
            loss: Maps logarithms of temperatures `[outputs]` to a scalar.
        """

        def slopes_at(logarithms: Tensor) -> Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(logarithms)
                value = loss(logarithms)
            gradients = tape.gradient(value, logarithms, unconnected_gradients="zero")
            return -gradients * tf.exp(logarithms)  # d/dq = -T d/dlnT

        # Differences of slopes, because some losses have no second derivative in TensorFlow.
        here = tf.convert_to_tensor(self.logarithms)
        above, below = here + STEP, here - STEP
        curvatures = (slopes_at(below) - slopes_at(above)) / (tf.exp(-below) - tf.exp(-above))
        return slopes_at(here), tf.maximum(curvatures, 0.0)

    def updated(self, slopes: Tensor, curvatures: Tensor) -> list[Any]:
        """Returns new values of the state."""
        old, curvature, moment = (tf.convert_to_tensor(variable) for variable in self.state)
        curvature = MEMORY * curvature + (1 - MEMORY) * curvatures
        moment = MEMORY * moment + (1 - MEMORY) * (curvatures * tf.exp(-old) - slopes)
        lowest = tf.maximum(moment, 1e-6 * curvature) / tf.maximum(curvature, 1e-30)
        logarithms = tf.clip_by_value(-tf.math.log(lowest), old - LARGEST_CHANGE, old + LARGEST_CHANGE)
        logarithms = tf.clip_by_value(logarithms, -np.log(LARGEST), np.log(LARGEST))
        is_known = (curvature > 0) | (moment != 0)
        return [tf.where(is_known, logarithms, old), curvature, moment]

    def forget(self) -> None:
        """Resets all temperatures to 1."""
        for variable in self.state:
            variable.assign(ops.zeros_like(variable))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_outputs": self.num_outputs}
