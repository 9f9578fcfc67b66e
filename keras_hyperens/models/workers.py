"""What `fit` and `evaluate` of a Keras model need with several workers (`tf.distribute.MultiWorkerMirroredStrategy`).

Keras 3.15 reduces a first batch over all workers to build metrics, and TensorFlow refuses to; then it averages the logs
of a step over workers along their first axis, and they have none.
"""

from typing import Any

import keras
import tensorflow as tf


def spans_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy has replicas in other processes than this one."""
    replicas = strategy.num_replicas_in_sync
    return replicas > 1 and replicas > len(strategy.extended.worker_devices)


def logs_of_step(logs: dict[str, Any]) -> dict[str, Any]:
    """Logs of a training or test step as Keras averages them: with an axis to do it along, where it spans workers."""
    if not spans_workers(tf.distribute.get_strategy()):
        return logs
    return keras.tree.map_structure(lambda value: tf.convert_to_tensor(value)[None], logs)


class MultiWorkerModel(keras.Model):
    """A Keras model that trains and evaluates on one worker or on several; `predict` needs no help. Abstract."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        strategy = self.distribute_strategy
        if iterator is None or not spans_workers(strategy):
            return super()._maybe_symbolic_build(iterator, data_batch)
        _, _, batches = next(iter(iterator))
        data_batch = keras.tree.map_structure(
            lambda leaf: strategy.experimental_local_results(leaf)[0], next(batches)
        )  # all replicas have rows of the same shapes
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def train_step(self, data: Any) -> dict[str, Any]:
        return logs_of_step(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, Any]:
        return logs_of_step(super().test_step(data))
