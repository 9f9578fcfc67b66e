"""Logs of `fit` and `evaluate`: losses, metrics of predictions and of members, and the state of tuning."""

from typing import Any

import keras
import tensorflow as tf

from keras_hyperens import likelihoods
from keras_hyperens import masks
from keras_hyperens.layers.members import join_members
from keras_hyperens.models.training import member_rows
from keras_hyperens.models.training.member_rows import Batch
from keras_hyperens.models.training.weight_step import Trained
from keras_hyperens.models.workers import logs_of_step
from keras_hyperens.types import MetricTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class Logs:
    """Updates metrics with the outputs of members.

    Args:
        trainer: The `Trainer` of a `HyperBatchEnsemble`.
        member_metrics: As in `HyperBatchEnsemble.compile`.
    """

    def __init__(self, trainer: Any, member_metrics: MetricTree) -> None:
        self.trainer, self.member_metrics = trainer, member_metrics
        self.ensemble, self.tuning = trainer.ensemble, trainer.tuning

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns the metrics besides those of Keras."""
        return [*self._of_members, self.tuning.mean_loss]

    @property
    def _of_members(self) -> list[keras.metrics.Metric]:
        return [metric for metric in keras.tree.flatten(self.member_metrics) if metric is not None]

    def of_training(self, trained: Trained) -> dict[str, Any]:
        """Returns metrics of the combined prediction, or of members with distinct samples.

        The loss is the mean over finite members; a step without any does not count.
        """
        batches, outputs, losses = trained
        is_fine = tf.math.is_finite(losses)
        number = tf.reduce_sum(tf.cast(is_fine, losses.dtype))
        loss = tf.math.divide_no_nan(tf.reduce_sum(tf.where(is_fine, losses, 0.0)), number)
        counts = tf.cast(number > 0, "float32")
        if all(batch is batches[0] for batch in batches):
            return self._of_prediction(batches[0], outputs, loss, training=True, counts=counts)
        own = member_rows.joined(batches)
        predictions = masks.mapped(join_members, self.ensemble._predictions_of(outputs), mask=join_members)
        self._update_loss(loss, own.size, counts)
        logs = self.ensemble.compute_metrics(own.x, own.y, predictions, own.sample_weight)
        return logs_of_step(self.shown(logs, training=True))

    def of_test(self, batch: Batch) -> dict[str, Any]:
        """Returns the loss and metrics of the result of `predict`."""
        ensemble = self.ensemble
        outputs = ensemble._member_outputs(batch.x, training=False)
        raw = ensemble._combined_raw(outputs)
        loss = ensemble.compute_loss(batch.x, batch.y, raw, batch.sample_weight, training=False)
        return self._of_prediction(batch, outputs, loss, training=False)

    def _of_prediction(
        self, batch: Batch, outputs: TensorTree, loss: Tensor, training: bool, counts: Tensor = 1.0
    ) -> dict[str, Any]:
        members = self.ensemble._predictions_of(outputs)
        self._update_loss(loss, batch.size, counts)
        self._update_member_metrics(batch.y, members)
        prediction = self.ensemble._combine(members)
        logs = self.ensemble.compute_metrics(batch.x, batch.y, prediction, batch.sample_weight)
        return logs_of_step(self.shown(logs, training))

    def _update_loss(self, loss: Tensor, size: Tensor, counts: Tensor) -> None:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._mean_loss.update_state(loss * replicas, sample_weight=tf.cast(size, "float32") * counts)

    @property
    def _mean_loss(self) -> keras.metrics.Mean:
        return next(metric for metric in self.ensemble.metrics if metric.name == "loss")

    def _update_member_metrics(self, y: TensorTree, members: TensorTree) -> None:
        if self.member_metrics is None:
            return
        by_output = likelihoods.per_output(self.member_metrics, members, self.ensemble.output_names)
        labels_of = likelihoods.parts_of_outputs(y, members, self.ensemble.output_names)
        for metrics, targets, outputs in zip(by_output, labels_of, keras.tree.flatten(members), strict=True):
            for metric in metrics or ():
                metric.update_state(tf.repeat(targets[None], outputs.shape[0], axis=0), outputs)

    def shown(self, logs: dict[str, Any], training: bool) -> dict[str, Any]:
        """Returns logs for users: with the state of tuning, without unused metrics."""
        hidden = {"tuning_loss", "entropy"}
        if training and self.trainer.members_have_own_samples:
            hidden |= {metric.name for metric in self._of_members}
        logs = {name: value for name, value in logs.items() if name not in hidden}
        if training and "loss" in logs:  # without counted steps there is none
            logs["loss"] = tf.where(self._mean_loss.count > 0, logs["loss"], float("nan"))
        if training and self.tuning.rows is not None:
            logs |= self._of_tuning()
        if training and len(self.ensemble.space):
            distribution = self.ensemble.distribution
            logs["entropy"] = distribution.entropy(distribution.bounds())
        return logs

    def _of_tuning(self) -> dict[str, Any]:
        # NaN instead of 0 before the first tuning step.
        mean = self.tuning.mean_loss
        logs = {"tuning_loss": tf.where(mean.count > 0, mean.result(), float("nan"))}
        temperature = self.ensemble.temperature
        if self.tuning.moves_temperature and temperature.num_outputs == 1:
            logs["temperature"] = tf.exp(temperature.logarithms[0])
        return logs
