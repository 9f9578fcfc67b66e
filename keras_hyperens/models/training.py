"""How a hyper-batch ensemble is trained and tuned: the steps that `fit` and `evaluate` run.

One training step: a batch and hyperparameters for every member, one forward pass for all members, gradients for all
weights. Every few steps, on a batch of tuning data: the gradient of the tuning loss for the bounds of the distributions
and for the temperature.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens import likelihoods
from keras_hyperens import losses
from keras_hyperens import masks
from keras_hyperens.callbacks import LeaveOutDiverged
from keras_hyperens.callbacks import StopOnNaN
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.layers.form import expected_batch_size
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.penalized import of_members
from keras_hyperens.losses.members import member_losses
from keras_hyperens.models import member_rows
from keras_hyperens.models.batches import BatchSpecs
from keras_hyperens.models.batches import batch_specs
from keras_hyperens.models.batches import labels
from keras_hyperens.models.compiling import TunableModel
from keras_hyperens.models.divergence import GuardedStep
from keras_hyperens.models.fused_updates import fused_updates
from keras_hyperens.models.labels import check_labels
from keras_hyperens.models.member_rows import Batch
from keras_hyperens.models.member_rows import BatchWindow
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.replicas import all_finite
from keras_hyperens.models.replicas import assign_all
from keras_hyperens.models.replicas import assign_where
from keras_hyperens.models.replicas import equally_finite
from keras_hyperens.models.replicas import replica_number
from keras_hyperens.models.replicas import summed
from keras_hyperens.models.tuning import TuningRows
from keras_hyperens.models.tuning import split_rows
from keras_hyperens.models.workers import SameStart
from keras_hyperens.models.workers import logs_of_step
from keras_hyperens.sample_weights import check_class_weight

TRAINING_DRAW, TUNING_DRAW = 0, 1  # what a random key is for


class TuningGradients(NamedTuple):
    """What a tuning batch says: of lower and upper bounds, of inverse temperatures, and the loss."""

    bounds: list[Any]
    slopes: Any  # [outputs]
    curvatures: Any
    loss: Any


class HyperBatchTrainer(TunableModel):
    """The training half of `HyperBatchEnsemble`. Abstract: the other half has the network and the distribution."""

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        tuning_data: Any = None,
        tuning_split: float = 0.0,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        callbacks: Any = None,
        **fit_arguments: Any,
    ) -> keras.callbacks.History:
        """`keras.Model.fit`, with rows to tune the hyperparameters on.

        Args:
            x, y, batch_size, epochs, class_weight, sample_weight, callbacks: As in `keras.Model.fit`; class weights
                apply to tuning rows too.
            tuning_data: Held-out rows: `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset`, a
                `keras.utils.PyDataset` or a generator that ends. They are read once and stay in memory. Without them
                the bounds and the temperature stay where they are.
            tuning_split: Instead, the fraction of the training arrays to hold out: their last rows, taken before
                `validation_split` takes its share.
            **fit_arguments: The other arguments of `keras.Model.fit`.

        Raises:
            ValueError: If tuning rows do not fit the training rows, are not finite, or take too much memory; if labels
                are out of range, or the ensemble was not compiled.
        """
        if not self.compiled:
            raise ValueError("Call `compile` before `fit`. Received: an ensemble that was not compiled")
        check_class_weight(class_weight)
        y = labels(y)
        if tuning_split:
            if tuning_data is not None:
                raise ValueError("Give `tuning_data` or `tuning_split`, not both. Received: both")
            (x, y, sample_weight), tuning_data = split_rows(x, y, sample_weight, tuning_split)
        with self._as_it_was_if_refused():
            specs, x = batch_specs(x, y, batch_size, sample_weight, class_weight)
            self._batch_size = specs.size
            if specs.x is not None:
                self._prepare(specs.x)
            self._set_tuning_rows(tuning_data, class_weight)
            if self._tuning_rows is not None and specs.x is not None:
                self._tuning_rows.check_like(specs.x, specs.y)
                self._check_labels(self._tuning_rows.labels, "tuning data", self._tuning_rows.are_weighted)
            if specs.x is not None:
                self._check_labels(y, "training data", sample_weight is not None)
                self._build_metrics(specs.x, specs.y)
            self._set_window(specs)
            if isinstance(callbacks, keras.callbacks.Callback):
                callbacks = [callbacks]
            if not isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks = [LeaveOutDiverged(), *(callbacks or []), StopOnNaN(), SameStart()]
            self._set_temperatures(None)  # they were those of other weights
            return super().fit(
                x,
                y,
                batch_size,
                epochs,
                class_weight=class_weight,
                sample_weight=sample_weight,
                callbacks=callbacks,
                **fit_arguments,
            )

    @contextmanager
    def _as_it_was_if_refused(self) -> Iterator[None]:
        """Gives back what the last `fit` left, if an error comes before the first step."""
        before = (self.temperatures, self._tuning_rows, self._batch_size, self._untracked.window)
        step = int(self.step.numpy())
        try:
            yield
        except BaseException:
            if int(self.step.numpy()) == step:
                self._set_temperatures(before[0])
                _, self._tuning_rows, self._batch_size, self._untracked.window = before
                self._forget_steps()  # a trace may hold the rows of the refused one
            raise

    def _check_labels(self, y: Any, name: str, are_weighted: bool) -> None:
        known = self.loss, self.likelihoods
        check_labels(self.network, *known, y, name, self.output_activation, all_count=not are_weighted)

    def _build_metrics(self, input_specs: Any, label_specs: Any) -> None:
        """Before the first step: TensorFlow traces a step twice if variables are made in it."""
        if not self.run_eagerly:
            with self.distribute_strategy.scope():
                self._symbolic_build(data_batch=(input_specs, label_specs))

    def _set_window(self, specs: BatchSpecs) -> None:
        """Where members train on other batches than each other, the window that gives them."""
        lag, window = self.settings.lag, self._untracked.window
        if lag is None or self.ensemble_size == 1:
            self._untracked.window = None
        elif not specs.describe_batches(exactly=self.jit_compile):
            self._untracked.window = None
            warnings.warn(
                "Members train on the same samples, because the shape of a batch is unknown before training: pass "
                "arrays, a `tf.data.Dataset`, a `PyDataset` or a generator (with `jit_compile`, batches of a known "
                'size), or compile with member_rows="same"',
                stacklevel=3,
            )
        else:
            strategy = self.distribute_strategy
            size = specs.size and specs.size // strategy.num_replicas_in_sync
            arguments = ((specs.x, specs.y, specs.sample_weight), size, self.ensemble_size, lag)
            if window is None or not window.serves(*arguments):
                with strategy.scope():
                    self._untracked.window = BatchWindow(*arguments)
        if self._untracked.window is not window:
            self._forget_steps()

    def _forget_steps(self) -> None:
        """Has training steps traced anew."""
        self.train_function = None
        self._untracked.traces.clear()

    _tuning_rows: TuningRows | None = None
    _batch_size: int | None = None  # of the last `fit`, on all replicas together
    _said_untuned = False

    def _set_tuning_rows(self, data: Any, class_weight: dict[int, float] | None) -> None:
        rows, before = None, self._tuning_rows
        _, last = self._untracked.traces.get(True, (None, None)) if before is None else (None, before)
        tunes_bounds = self._tunes_bounds()
        if data is not None and not tunes_bounds and not self._tunes_temperature():
            raise ValueError(
                "No kernel depends on hyperparameters and no output has a temperature, so nothing can be tuned: leave "
                '`tuning_data` out, or use layers with sharing="hyper". Received: tuning data'
            )
        if data is not None:
            with self.distribute_strategy.scope():
                rows = TuningRows(data, class_weight, self.seed, last)
        elif tunes_bounds and not self._said_untuned:
            self._said_untuned = True
            warnings.warn(
                "No tuning data: hyperparameters are drawn from their present distributions, which stay as they are. "
                "Give `tuning_data` or `tuning_split` to `fit`",
                stacklevel=3,
            )
        if (rows is None) != (before is None):  # of each kind one trace is kept
            traces = self._untracked.traces
            traces[before is not None] = (self.train_function, before)
            self.train_function, before = traces.pop(rows is not None, (None, None))
        if rows is not None and not rows.takes_the_place_of(before):
            self.train_function = None  # it was traced with others
        self._tuning_rows = rows

    def train_step(self, data: Any) -> dict[str, Any]:
        parts = tf.distribute.get_strategy().num_replicas_in_sync
        if self.settings.member_rows == "split":
            parts *= self.ensemble_size
        with expected_batch_size(self._batch_size and max(self._batch_size // parts, 1)):
            return self._train_step(data)

    def _train_step(self, data: Any) -> dict[str, Any]:
        batches = self._member_batches(Batch(*keras.utils.unpack_x_y_sample_weight(data)))
        batch_size = batches[0].size
        bounds = self.distribution.bounds()
        values = self._draw(bounds, batch_size, TRAINING_DRAW)
        have_losses = self.settings.member_loss == "member"
        guarded = GuardedStep(self.network, self.optimizer, self.ensemble_size, self._alive, have_losses)
        # The scope is around the gradient too: a rematerialized layer runs again there.
        with hyperparameter_scope(values, self._centers(bounds)):
            with tf.GradientTape() as tape:
                outputs = self._outputs_of_members([batch.x for batch in batches], training=True)
                batches = [batches[k] for k in self._alive]
                losses_of_members, loss = self._training_losses(batches, outputs, self._by_name(values))
                scaled_loss = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self._update_weights(guarded, gradients, losses_of_members if have_losses else _sums_of_members(outputs))
        if self._tuning_rows is not None:
            self._tune(batch_size)
        self.step.assign_add(1)
        return self._training_logs(batches, outputs, losses_of_members)

    def _member_batches(self, batch: Batch) -> list[Batch]:
        """What each member trains on in this step."""
        window = self._untracked.window
        if self.settings.member_rows == "split":
            return member_rows.split(batch, self.ensemble_size)
        if window is None or not all(isinstance(leaf, tf.Tensor | None) for leaf in keras.tree.flatten(batch)):
            return [batch] * self.ensemble_size
        return window.batches(batch)

    def _training_losses(self, batches: list[Batch], outputs: Any, values: Any) -> tuple[Any, Any]:
        """Of the living members, each with its penalties, `[L]`, and what is minimized.

        That is divided by M, so that the gradients of the others stay as they are when one is left out.
        """

        def loss_of(raw: Any, member: int = 0) -> Any:
            x, y, sample_weight = batches[member]
            with self._without_penalties():
                return self.compute_loss(x, y, raw, sample_weight, training=True)

        penalties, common = self._penalties()
        if self.loss is None and self.losses:
            each = list(tf.zeros(len(self._alive)))
        elif self.settings.member_loss == "member":
            each = member_losses(loss_of, outputs, [values[k] for k in self._alive])
        else:  # of the members' outputs there is one loss, which tells them apart no more
            each = [losses.ensemble_loss(loss_of, outputs, self.likelihoods_of(outputs))]
        share = len(self._alive) / self.ensemble_size if len(each) > 1 or self.ensemble_size == 1 else 1.0
        with_penalties = tf.stack(each) + tf.cast(penalties, each[0].dtype)
        common = tf.cast(common, each[0].dtype)
        return with_penalties + common, share * tf.reduce_mean(with_penalties) + common

    def _penalties(self) -> tuple[Any, Any]:
        """Of the living members, `[L]`, and what is nobody's own."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        own, common = tf.zeros(len(self._alive)), tf.zeros(())
        for loss in self.losses:
            members = of_members(loss)
            if members is None:
                common += tf.cast(self._aggregate_additional_loss(loss), "float32")
            else:
                every = tf.broadcast_to(tf.reduce_mean(members, axis=1), [self.ensemble_size])
                own += tf.gather(every, self._alive) / replicas
        return own, common

    @contextmanager
    def _without_penalties(self) -> Iterator[None]:
        self._hides_losses = True
        try:
            yield
        finally:
            self._hides_losses = False

    _hides_losses = False

    @property
    def losses(self) -> list[Any]:
        return [] if self._hides_losses else super().losses

    def _training_logs(self, batches: list[Batch], outputs: Any, losses_of_members: Any) -> dict[str, Any]:
        """Metrics of the combined prediction, or of members where each has samples of its own.

        The loss is the mean of the members that are finite; without any, the step does not count.
        """
        is_fine = tf.math.is_finite(losses_of_members)
        number = tf.reduce_sum(tf.cast(is_fine, losses_of_members.dtype))
        loss = tf.math.divide_no_nan(tf.reduce_sum(tf.where(is_fine, losses_of_members, 0.0)), number)
        counts = tf.cast(number > 0, "float32")
        if all(batch is batches[0] for batch in batches):
            return self._logs(batches[0], outputs, loss, training=True, counts=counts)
        own = member_rows.joined(batches)
        predictions = masks.mapped(join_members, self._predictions_of(outputs), mask=join_members)
        self._update_loss(loss, own.size, counts)
        return self._finished(self.compute_metrics(own.x, own.y, predictions, own.sample_weight), training=True)

    def evaluate(self, *arguments: Any, **keywords: Any) -> Any:
        before, self._is_evaluating = self._is_evaluating, True
        try:
            return super().evaluate(*arguments, **keywords)
        finally:
            self._is_evaluating = before

    _is_evaluating = False

    def test_step(self, data: Any) -> dict[str, Any]:
        batch = Batch(*keras.utils.unpack_x_y_sample_weight(data))
        outputs = self._member_outputs(batch.x, training=False)
        loss = self.compute_loss(batch.x, batch.y, self._combined_raw(outputs), batch.sample_weight, training=False)
        return self._logs(batch, outputs, loss, training=False)

    def _combined_raw(self, outputs: Any) -> Any:
        """Raw outputs, as the loss takes them, of what `predict` gives."""
        of_outputs = self.likelihoods_of(outputs)
        if self.combination == "mean" and self.temperatures is None:
            return self._at_temperature(likelihoods.combined_raw(outputs, of_outputs))
        return likelihoods.raw_of(self._combine(self._predictions_of(outputs)), of_outputs)

    def _by_name(self, values: Any) -> list[dict[str, Any]]:
        """Values `[M, 1 or B, P]` as each member's own, `[1 or B]` by name."""
        names = self.space.names
        return [{name: values[k, :, column] for column, name in enumerate(names)} for k in range(self.ensemble_size)]

    def _draw(self, bounds: Any, batch_size: Any, purpose: int) -> Any:
        """Hyperparameter values `[M, 1 or B, P]` of this step and replica: a function of seed and step alone."""
        key = tf.constant([self.seed % 2**31, purpose], tf.int32)
        for number in (self.step.value, replica_number()):
            key = tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int64))
        rows = batch_size if self.settings.sampling == "example" else 1
        return self.distribution.sample(bounds, rows, key)

    def _update_weights(self, guarded: GuardedStep, gradients: Any, of_members: Any) -> None:
        """Updates all weights; what is not finite of members, `[L]`, says whom to leave out."""
        if not gradients:  # everything is frozen: only the hyperparameters and the temperature are tuned
            return
        is_fine = tf.cast(tf.math.is_finite(of_members), "int32")
        every = tf.scatter_nd(np.array(self._alive)[:, None], is_fine, [self.ensemble_size])
        fine, goes = guarded.apply(equally_finite(gradients, self.optimizer), every > 0, self._apply)
        self._untracked.counts.add(fine, goes, self._alive)

    def _apply(self, gradients: Any) -> None:
        multiplier = self.settings.fast_weight_learning_rate
        layers = hyper_batch_layers(self.network)
        slowed = [weight for layer in layers for weight in layer.fast_weights] if multiplier != 1 else []
        before = [tf.identity(variable) for variable in slowed]
        with fused_updates(self.optimizer):
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        after = [old + multiplier * (tf.identity(variable) - old) for variable, old in zip(slowed, before, strict=True)]
        assign_all(slowed, after)

    def _tune(self, batch_size: Any) -> None:
        """One update of the bounds and of the temperature, if this step has one.

        Only the gradient is inside the condition. The optimizer runs at every step, because some strategies refuse it
        inside a condition; where the step does not tune, all that it changed is put back.
        """
        number, every = self.step.value, self.settings.tuning_every
        is_tuning = number % every == 0
        moves_bounds = is_tuning & (number >= self.settings.tuning_warmup)
        bounds = self.distribution.bounds()
        nothing = tf.zeros_like(tf.convert_to_tensor(self.temperature.logarithms))
        gradients, slopes, curvatures, loss = tf.cond(
            is_tuning,
            lambda: self._tuning_gradients(bounds, number // every, batch_size),
            lambda: TuningGradients([tf.zeros_like(bound) for bound in bounds], nothing, nothing, tf.zeros(())),
        )
        variables = [self.distribution.lower, self.distribution.upper]
        of_bounds = [*variables, *self.tuning_optimizer.variables]
        state = [*of_bounds, *self.temperature.state]
        before = [tf.identity(variable) for variable in state]
        gradients = equally_finite(gradients, self.tuning_optimizer)
        with fused_updates(self.tuning_optimizer):
            self.tuning_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        assign_all(self.temperature.state, self.temperature.updated(*summed([slopes, curvatures])))
        is_finite = all_finite(state)  # of all replicas: gradients were summed
        assign_all(variables, self.distribution.project(self.distribution.bounds()))
        changes = [moves_bounds] * len(of_bounds) + [is_tuning] * len(self.temperature.state)
        assign_where([is_finite & change for change in changes], state, before)
        counts = is_tuning & tf.math.is_finite(loss)
        self._untracked.tuning_loss.update_state(tf.where(counts, loss, 0.0), sample_weight=tf.cast(counts, tf.float32))

    def _tuning_gradients(self, bounds: Any, number: Any, batch_size: Any) -> TuningGradients:
        """What tuning batch `number` says of the bounds and of the temperature.

        The objective of the bounds is the tuning loss, at the present temperature, minus `entropy_weight` times the
        entropy of all distributions. The forward pass is that of inference, without penalties: hyperparameters act
        through the kernels alone, and a kernel's center is a constant.
        """
        rows: Any = self._tuning_rows
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        batch = Batch(*rows.batch(number, batch_size, replica_number(), replicas))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(bounds)
            values = self._draw(bounds, batch.size, TUNING_DRAW)
            with hyperparameter_scope(values, self._centers(bounds)):
                outputs = self._member_outputs(batch.x, training=False)
            loss = self._tuning_loss(batch, outputs)
            entropy = self.distribution.entropy(bounds) / replicas  # gradients are summed over them, as Keras' are
            objective = loss - self.settings.entropy_weight * entropy
            scaled = self.tuning_optimizer.scale_loss(objective)
        gradients = [tf.zeros_like(bound) for bound in bounds]
        if self._tunes_bounds():
            gradients = list(tape.gradient(scaled, bounds))
        slopes = curvatures = tf.zeros_like(tf.convert_to_tensor(self.temperature.logarithms))
        if self._tunes_temperature():
            fixed = masks.mapped(tf.stop_gradient, outputs)
            slopes, curvatures = self.temperature.slopes_and_curvatures(
                lambda logarithms: tf.cast(self._tuning_loss(batch, fixed, logarithms), tf.float32)
            )
        return TuningGradients(gradients, slopes, curvatures, tf.cast(loss * replicas, tf.float32))

    def _tuning_loss(self, batch: Batch, outputs: Any, logarithms: Any = None) -> Any:
        def loss_of(raw: Any, member: int = 0) -> Any:
            tempered = self._at_temperature(masks.mapped(likelihoods.at_least_float32, raw), logarithms)
            return self.objective(batch.x, batch.y, tempered, batch.sample_weight)

        if self.settings.tuning_loss == "member":
            return losses.member_loss(loss_of, outputs)
        return losses.ensemble_loss(loss_of, outputs, self.likelihoods_of(outputs))

    def _logs(self, batch: Batch, outputs: Any, loss: Any, training: bool, counts: Any = 1.0) -> dict[str, Any]:
        members = self._predictions_of(outputs)
        self._update_loss(loss, batch.size, counts)
        self._update_member_metrics(batch.y, members)
        logs = self.compute_metrics(batch.x, batch.y, self._combine(members), batch.sample_weight)
        return self._finished(logs, training)

    def _update_loss(self, loss: Any, size: Any, counts: Any = 1.0) -> None:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._mean_loss().update_state(loss * replicas, sample_weight=tf.cast(size, "float32") * counts)

    def _mean_loss(self) -> keras.metrics.Mean:
        return next(metric for metric in self.metrics if metric.name == "loss")

    def _finished(self, logs: dict[str, Any], training: bool) -> dict[str, Any]:
        return logs_of_step(self._shown(logs, training))

    def get_metrics_result(self) -> dict[str, Any]:
        """What is logged. After an epoch Keras asks for it outside the step, where it is that of all replicas."""
        return self._shown(super().get_metrics_result(), training=not self._is_evaluating)

    def _shown(self, logs: dict[str, Any], training: bool) -> dict[str, Any]:
        hidden = {"tuning_loss", "entropy"}
        if training and self._members_have_own_samples():
            hidden |= {
                metric.name for metric in keras.tree.flatten(self._untracked.member_metrics) if metric is not None
            }
        logs = {name: value for name, value in logs.items() if name not in hidden}
        if training and "loss" in logs:  # if no step counts, there is none
            logs["loss"] = tf.where(self._mean_loss().count > 0, logs["loss"], float("nan"))
        if training and self._tuning_rows is not None:
            # Not a number, not 0, where no step has tuned yet.
            tuning_loss = self._untracked.tuning_loss
            logs["tuning_loss"] = tf.where(tuning_loss.count > 0, tuning_loss.result(), float("nan"))
            if self._tunes_temperature() and self.temperature.num_outputs == 1:
                logs["temperature"] = tf.exp(self.temperature.logarithms[0])
        if training and len(self.space):
            logs["entropy"] = self.distribution.entropy(self.distribution.bounds())
        return logs

    def _members_have_own_samples(self) -> bool:
        return self._untracked.window is not None or self.settings.member_rows == "split"

    def _update_member_metrics(self, y: Any, members: Any) -> None:
        if self._untracked.member_metrics is None:
            return
        by_output = likelihoods.per_output(self._untracked.member_metrics, members, self.output_names)
        labels_of = likelihoods.parts_of_outputs(y, members, self.output_names)
        for metrics, targets, outputs in zip(by_output, labels_of, keras.tree.flatten(members), strict=True):
            for metric in metrics or ():
                metric.update_state(tf.repeat(targets[None], outputs.shape[0], axis=0), outputs)


def _sums_of_members(outputs: Any) -> Any:
    """Of each member's outputs, `[L]`."""
    sums = [tf.reduce_sum(tf.cast(each, "float32"), range(1, len(each.shape))) for each in keras.tree.flatten(outputs)]
    return tf.add_n(sums)
