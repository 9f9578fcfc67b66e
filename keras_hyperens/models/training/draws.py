"""The hyperparameters that members have in a step: a function of seed and step alone."""

from typing import Any

import tensorflow as tf

from keras_hyperens.models.training.replicas import replica_number

TRAINING_DRAW, TUNING_DRAW = 0, 1  # what a random key is for


def draw(ensemble: Any, bounds: Any, batch_size: Any, purpose: int) -> Any:
    """Values of this step and replica, `[M, 1 or B, P]`, natural scale; gradients flow to the bounds.

    Args:
        ensemble: A `HyperBatchEnsemble`.
        bounds: `(lower, upper)`, `[M, P]` each.
        batch_size: B, which counts where each sample has a draw of its own.
        purpose: `TRAINING_DRAW` or `TUNING_DRAW`.
    """
    key = tf.constant([ensemble.seed % 2**31, purpose], tf.int32)
    for number in (ensemble.step.value, replica_number()):
        key = tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int64))
    rows = batch_size if ensemble._trainer.settings.sampling == "example" else 1
    return ensemble.distribution.sample(bounds, rows, key)
