"""Draws of the members' hyperparameters, a function of seed and step."""

import keras
import tensorflow as tf

from keras_hyperens.models.training.replicas import replica_number
from keras_hyperens.types import Bounds
from keras_hyperens.types import Tensor

TRAINING_DRAW, TUNING_DRAW = 0, 1  # purpose of a random key


def draw(ensemble: keras.Model, bounds: Bounds, rows: Tensor, purpose: int) -> Tensor:
    """Returns the values of this step and replica, `[M, rows, P]`, natural scale; gradients flow to the bounds.

    Args:
        ensemble: A `HyperBatchEnsemble`.
        bounds: `(lower, upper)`, `[M, P]` each.
        rows: Number of draws per member; see `TrainingSettings.rows_of_draws`.
        purpose: `TRAINING_DRAW` or `TUNING_DRAW`.
    """
    key = tf.constant([ensemble.seed % 2**31, purpose], tf.int32)
    for number in (ensemble.step.value, replica_number()):
        key = tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int64))
    return ensemble.distribution.sample(bounds, rows, key)
