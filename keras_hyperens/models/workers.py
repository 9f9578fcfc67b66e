"""Workarounds for `fit` and `evaluate` with several workers (`tf.distribute.MultiWorkerMirroredStrategy`).

Keras 3.15 reduces a first batch over all workers to build metrics, which TensorFlow rejects; it also averages the logs
of a step over workers along their first axis, which they do not have.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_hyperens.types import TensorTree


def check_distribution() -> None:
    """Raises a `ValueError` if `keras.distribution` names several devices: Keras trains on one of them here."""
    distribution = keras.distribution.distribution()
    if distribution is not None and distribution.device_mesh.devices.size > 1:
        raise ValueError(
            "`keras.distribution` has no effect with the TensorFlow backend: call `set_distribution(None)`, and make "
            "the ensemble in the scope of a `tf.distribute` strategy (docs/distributed.md). Received: a "
            f"{type(distribution).__name__} over {distribution.device_mesh.devices.size} devices"
        )


def spans_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy has replicas in other processes."""
    replicas = strategy.num_replicas_in_sync
    return replicas > 1 and replicas > len(strategy.extended.worker_devices)


def logs_of_step(logs: dict[str, Any]) -> dict[str, Any]:
    """Returns logs of a step with an additional axis for Keras' average over workers, if there are several."""
    if not spans_workers(tf.distribute.get_strategy()):
        return logs
    return keras.tree.map_structure(lambda value: tf.convert_to_tensor(value)[None], logs)


@contextmanager
def lost_worker_named(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Adds the probable cause and the solution to TensorFlow's error."""
    try:
        yield
    except tf.errors.OpError as error:
        if spans_workers(strategy):
            error.add_note(
                "A worker was lost or failed, and the others cannot continue without it. Restart all of them; with "
                "`keras.callbacks.BackupAndRestore` training resumes (docs/distributed.md)"
            )
        raise


class SameStart(keras.callbacks.Callback):
    """Callback that raises an error if workers start from different steps; runs after `BackupAndRestore`."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        strategy = self.model.distribute_strategy
        if not spans_workers(strategy):
            return
        step = int(self.model.step.numpy())
        steps, squares = _sums(strategy, [step, step**2])
        if strategy.num_replicas_in_sync * squares != steps**2:
            raise ValueError(
                "All workers must start from the same step: give each of them the backup of the first, or none "
                f"(docs/distributed.md). Received: step={step} on this worker, "
                f"{steps / strategy.num_replicas_in_sync:g} on average"
            )


def _sums(strategy: tf.distribute.Strategy, numbers: list[int]) -> list[int]:
    """Sums numbers of each worker over all replicas."""

    @tf.function
    def all_reduced() -> Any:
        own = [tf.constant(number, tf.int64) for number in numbers]
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)

    return [int(strategy.experimental_local_results(total)[0]) for total in strategy.run(all_reduced)]


class MultiWorkerModel(keras.Model):
    """Keras model that trains and evaluates on one or several workers; `predict` requires no workaround. Abstract."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        strategy = self.distribute_strategy
        if iterator is None or not spans_workers(strategy):
            return super()._maybe_symbolic_build(iterator, data_batch)
        *_, batches = next(iter(iterator))  # after one or two step numbers, depending on the Keras version
        data_batch = keras.tree.map_structure(
            lambda leaf: strategy.experimental_local_results(leaf)[0], next(batches)
        )  # all replicas have inputs of the same shapes
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def fit(self, *arguments: Any, **keywords: Any) -> keras.callbacks.History:
        with lost_worker_named(self.distribute_strategy):
            return super().fit(*arguments, **keywords)

    def evaluate(self, *arguments: Any, **keywords: Any) -> Any:
        with lost_worker_named(self.distribute_strategy):
            return super().evaluate(*arguments, **keywords)

    def train_step(self, data: TensorTree) -> dict[str, Any]:
        return logs_of_step(super().train_step(data))

    def test_step(self, data: TensorTree) -> dict[str, Any]:
        return logs_of_step(super().test_step(data))
