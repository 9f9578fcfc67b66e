"""Update of all weights in a step: every member's loss at its own draw, with its own penalties."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens import losses
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.layers.penalized import of_members
from keras_hyperens.losses.members import member_losses
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.training.divergence import Counts
from keras_hyperens.models.training.divergence import GuardedStep
from keras_hyperens.models.training.draws import TRAINING_DRAW
from keras_hyperens.models.training.draws import draw
from keras_hyperens.models.training.fused_updates import fused_updates
from keras_hyperens.models.training.member_rows import Batch
from keras_hyperens.models.training.replicas import assign_all
from keras_hyperens.models.training.replicas import equally_finite
from keras_hyperens.models.training.settings import TrainingSettings
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class Trained(NamedTuple):
    """Results of a step for the remaining members."""

    batches: list[Batch]
    outputs: Any  # [L, B, ..., C], raw
    losses: Any  # [L], with penalties


class WeightStep:
    """One forward pass of all members, and one update of all weights.

    Args:
        ensemble: A `HyperBatchEnsemble`.
        settings: Training options.
    """

    def __init__(self, ensemble: keras.Model, settings: TrainingSettings) -> None:
        self.ensemble, self.members, self.settings = ensemble, ensemble._members, settings
        with ensemble.distribute_strategy.scope():
            self.counts = Counts(ensemble.ensemble_size)

    def run(self, batches: Sequence[Batch]) -> Trained:
        """Trains each of M members on its batch."""
        ensemble, members = self.ensemble, self.members
        bounds = ensemble.distribution.bounds()
        values = draw(ensemble, bounds, self.settings.rows_of_draws(batches[0].size), TRAINING_DRAW)
        have_losses = self.settings.member_loss == "member"
        guarded = GuardedStep(ensemble.network, ensemble.optimizer, ensemble.ensemble_size, members.living, have_losses)
        # The scope includes the gradient, in which a rematerialized layer runs again.
        with hyperparameter_scope(values, members.centers(bounds)):
            with tf.GradientTape() as tape:
                outputs = members.outputs([batch.x for batch in batches], training=True)
                of_living = [batches[k] for k in members.living]
                losses_of_members, loss = self._losses(of_living, outputs, self._by_name(values))
                scaled_loss = ensemble.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled_loss, ensemble.trainable_variables)
        self._update(guarded, gradients, losses_of_members if have_losses else _sums_of_members(outputs))
        return Trained(of_living, outputs, losses_of_members)

    def _by_name(self, values: Tensor) -> list[dict[str, Any]]:
        """Returns values `[M, 1 or B, P]` as one dictionary per remaining member, `[1 or B]` by name."""
        names = self.ensemble.space.names
        return [{name: values[k, :, column] for column, name in enumerate(names)} for k in self.members.living]

    def _losses(self, batches: list[Batch], outputs: TensorTree, values: list[dict[str, Any]]) -> tuple[Any, Any]:
        """Returns the losses of the remaining members with penalties, `[L]`, and the minimized loss.

        The latter is divided by M, so that the exclusion of a member does not change the gradients of the others.
        """
        ensemble = self.ensemble

        def loss_of(raw: TensorTree, member: int = 0) -> Tensor:
            x, y, sample_weight = batches[member]
            with ensemble._without_penalties():
                return ensemble.compute_loss(x, y, raw, sample_weight, training=True)

        penalties, common = self._penalties()
        if ensemble.loss is None and ensemble.losses:
            each = [tf.zeros(()) for _ in batches]
        elif self.settings.member_loss == "member":
            each = member_losses(loss_of, outputs, values)
        else:  # a single loss of all members' outputs does not identify a member
            each = [losses.ensemble_loss(loss_of, outputs, ensemble.likelihoods_of(outputs))]
        size = ensemble.ensemble_size
        share = len(batches) / size if len(each) > 1 or size == 1 else 1.0
        with_penalties = tf.stack(each) + tf.cast(penalties, each[0].dtype)
        common = tf.cast(common, each[0].dtype)
        return with_penalties + common, share * tf.reduce_mean(with_penalties) + common

    def _penalties(self) -> tuple[Any, Any]:
        """Returns the penalties of the remaining members, `[L]`, and common ones."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        living = self.members.living
        own, common = tf.zeros(len(living)), tf.zeros(())
        for loss in self.ensemble.losses:
            members = of_members(loss)
            if members is None:
                common += tf.cast(self.ensemble._aggregate_additional_loss(loss), "float32")
            else:
                every = tf.broadcast_to(tf.reduce_mean(members, axis=1), [self.ensemble.ensemble_size])
                own += tf.gather(every, living) / replicas
        return own, common

    def _update(self, guarded: GuardedStep, gradients: Sequence[Tensor], told_by: Tensor) -> None:
        """Updates all weights; non-finite values of remaining members, `[L]`, define which to exclude."""
        if not gradients:  # all weights are frozen: only hyperparameters and temperature are tuned
            return
        living = self.members.living
        is_fine = tf.cast(tf.math.is_finite(told_by), "int32")
        every = tf.scatter_nd(np.array(living)[:, None], is_fine, [self.ensemble.ensemble_size])
        finite = equally_finite(gradients, self.ensemble.optimizer)
        fine, goes = guarded.apply(finite, every > 0, self._apply)
        self.counts.add(fine, goes, living)

    def _apply(self, gradients: Sequence[Tensor]) -> None:
        optimizer, multiplier = self.ensemble.optimizer, self.settings.fast_weight_learning_rate
        layers = hyper_batch_layers(self.ensemble.network)
        slowed = [weight for layer in layers for weight in layer.fast_weights] if multiplier != 1 else []
        before = [tf.identity(variable) for variable in slowed]
        with fused_updates(optimizer):
            optimizer.apply_gradients(zip(gradients, self.ensemble.trainable_variables, strict=True))
        after = [old + multiplier * (tf.identity(variable) - old) for variable, old in zip(slowed, before, strict=True)]
        assign_all(slowed, after)


def _sums_of_members(outputs: TensorTree) -> Tensor:
    """Returns the sum of each member's outputs, `[L]`."""
    sums = [tf.reduce_sum(tf.cast(each, "float32"), range(1, len(each.shape))) for each in keras.tree.flatten(outputs)]
    return tf.add_n(sums)
