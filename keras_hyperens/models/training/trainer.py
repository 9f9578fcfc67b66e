"""Training and evaluation steps of a compiled hyper-batch ensemble.

A training step has a batch and hyperparameters for every member, one forward pass for all members, and gradients for
all weights. A tuning step, every few steps, computes the gradient of the tuning loss on a batch of tuning data for the
bounds of the distributions and for the temperature.
"""

import warnings
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from keras_hyperens.callbacks import LeaveOutDiverged
from keras_hyperens.callbacks import StopOnNaN
from keras_hyperens.layers.form import expected_batch_size
from keras_hyperens.models.data import BatchSpecs
from keras_hyperens.models.labels import check_labels
from keras_hyperens.models.training import member_rows
from keras_hyperens.models.training.logs import Logs
from keras_hyperens.models.training.member_rows import Batch
from keras_hyperens.models.training.member_rows import BatchWindow
from keras_hyperens.models.training.optimizers import build_optimizers
from keras_hyperens.models.training.optimizers import scaled_like
from keras_hyperens.models.training.settings import TrainingSettings
from keras_hyperens.models.training.tuning_rows import TuningRows
from keras_hyperens.models.training.tuning_step import TuningStep
from keras_hyperens.models.training.weight_step import WeightStep
from keras_hyperens.models.workers import SameStart
from keras_hyperens.types import MetricTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class Trainer:
    """Training and tuning steps of an ensemble, and their data: tuning data, past batches, counts.

    Args:
        ensemble: A `HyperBatchEnsemble`, compiled as a Keras model.
        settings: Training and tuning options.
        tuning_optimizer: Optimizer of the bounds, as passed by the user.
        objective: Tuning objective; see `TuningStep`.
        member_metrics: As in `HyperBatchEnsemble.compile`.
    """

    def __init__(
        self,
        ensemble: keras.Model,
        settings: TrainingSettings,
        tuning_optimizer: keras.optimizers.Optimizer,
        objective: Callable[..., Tensor],
        member_metrics: MetricTree,
    ) -> None:
        self.ensemble, self.settings = ensemble, settings
        self.weights = WeightStep(ensemble, settings)
        self.tuning = TuningStep(ensemble, settings, scaled_like(ensemble.optimizer, tuning_optimizer), objective)
        self.logs = Logs(self, member_metrics)
        self.window: BatchWindow | None = None  # for distinct batches of members
        self.batch_size: int | None = None  # global batch size of the last `fit`
        self._traces: dict[bool, Any] = {}  # with or without tuning data: the unused trace and its data
        self._said_untuned = False
        self.given = {"member_metrics": member_metrics, "tuning_optimizer": tuning_optimizer}

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of `HyperBatchEnsemble.compile` besides those of Keras."""
        return {**asdict(self.settings), **keras.saving.serialize_keras_object(self.given)}

    @property
    def members_have_own_samples(self) -> bool:
        """Whether each member trains on its own samples."""
        return self.window is not None or self.settings.member_rows == "split"

    def train_step(self, data: TensorTree) -> dict[str, Any]:
        """Trains, tunes if due, and logs."""
        parts = tf.distribute.get_strategy().num_replicas_in_sync
        if self.settings.member_rows == "split":
            parts *= self.ensemble.ensemble_size
        with expected_batch_size(self.batch_size and max(self.batch_size // parts, 1)):
            batches = self._member_batches(Batch(*keras.utils.unpack_x_y_sample_weight(data)))
            trained = self.weights.run(batches)
            if self.tuning.rows is not None:
                self.tuning.run(batches[0].size)
            self.ensemble.step.assign_add(1)
            return self.logs.of_training(trained)

    def test_step(self, data: TensorTree) -> dict[str, Any]:
        """Logs metrics of the result of `predict`."""
        return self.logs.of_test(Batch(*keras.utils.unpack_x_y_sample_weight(data)))

    def _member_batches(self, batch: Batch) -> list[Batch]:
        """Returns the training batch of each member in this step."""
        if self.settings.member_rows == "split":
            return member_rows.split(batch, self.ensemble.ensemble_size)
        is_batch = all(isinstance(leaf, tf.Tensor | None) for leaf in keras.tree.flatten(batch))
        if self.window is None or not is_batch:  # Keras builds its metrics with symbolic inputs
            return [batch] * self.ensemble.ensemble_size
        return self.window.batches(batch)

    def prepare(
        self,
        specs: BatchSpecs,
        y: TensorTree,
        are_weighted: bool,
        tuning_data: Any,
        class_weight: dict[int, float] | None,
    ) -> None:
        """Checks the arguments of `fit`, and prepares its steps, so that errors occur before the first step.

        Args:
            specs: Specification of its batches.
            y: Labels, as in `fit`.
            are_weighted: Whether there are sample weights.
            tuning_data, class_weight: As in `HyperBatchEnsemble.fit`.

        Raises:
            ValueError: If tuning data do not match the training data, or labels are out of range.
        """
        if specs.x is not None:
            self.build(specs.x)
        self.batch_size = specs.size
        self._set_tuning_rows(tuning_data, class_weight)
        if specs.x is not None:
            if self.tuning.rows is not None:
                self.tuning.rows.check_like(specs.x, specs.y)
                self._check_labels(self.tuning.rows.labels, "tuning data", self.tuning.rows.are_weighted)
            self._check_labels(y, "training data", are_weighted)
            self._build_metrics(specs.x, specs.y)
        self._set_window(specs)

    def build(self, batch: TensorTree) -> None:
        """Builds the ensemble for such batches and checks that it keeps samples separate."""
        self.ensemble._build_for(batch)
        self.build_optimizers()

    def build_optimizers(self) -> None:
        """Creates the variables of both optimizers, so that files can fill them before the first step."""
        ensemble, bounds = self.ensemble, [self.ensemble.distribution.lower, self.ensemble.distribution.upper]
        of_weights = ensemble.optimizer, ensemble.trainable_variables
        build_optimizers(ensemble.network, of_weights, (self.tuning.optimizer, bounds))

    def _check_labels(self, y: TensorTree, name: str, are_weighted: bool) -> None:
        ensemble = self.ensemble
        known = ensemble.network, ensemble.loss, ensemble.likelihoods
        check_labels(*known, y, name, ensemble.output_activation, all_count=not are_weighted)

    def _build_metrics(self, input_specs: TensorTree, label_specs: TensorTree) -> None:
        """Builds metrics before the first step, because TensorFlow traces a step twice if it creates variables."""
        if not self.ensemble.run_eagerly:
            with self.ensemble.distribute_strategy.scope():
                self.ensemble._symbolic_build(data_batch=(input_specs, label_specs))

    def _set_window(self, specs: BatchSpecs) -> None:
        """Creates the window of batches if members use distinct ones."""
        lag, window, size = self.settings.lag, self.window, self.ensemble.ensemble_size
        if lag is None or size == 1:
            self.window = None
        elif not specs.describe_batches(exactly=self.ensemble.jit_compile):
            self.window = None
            warnings.warn(
                "Members train on the same samples, because the shape of a batch is unknown before training: pass "
                "arrays, a `tf.data.Dataset`, a `PyDataset` or a generator (with `jit_compile`, batches of a known "
                'size), or compile with member_rows="same"',
                stacklevel=4,
            )
        else:
            strategy = self.ensemble.distribute_strategy
            rows = specs.size and specs.size // strategy.num_replicas_in_sync
            arguments = ((specs.x, specs.y, specs.sample_weight), rows, size, lag)
            if window is None or not window.serves(*arguments):
                with strategy.scope():
                    self.window = BatchWindow(*arguments)
        if self.window is not window:
            self.forget_traces()

    def _set_tuning_rows(self, data: Any, class_weight: dict[int, float] | None) -> None:
        tuning, rows = self.tuning, None
        before = tuning.rows
        _, last = self._traces.get(True, (None, None)) if before is None else (None, before)
        if data is not None and not tuning.moves:
            raise ValueError(
                "No kernel depends on hyperparameters and no output has a temperature, so nothing can be tuned: remove "
                '`tuning_data`, or use layers with sharing="hyper". Received: tuning data'
            )
        if data is not None:
            with self.ensemble.distribute_strategy.scope():
                need_labels = self.ensemble.loss is not None
                rows = TuningRows(data, class_weight, self.ensemble.seed, last, need_labels)
        elif tuning.moves_bounds and not self._said_untuned:
            self._said_untuned = True
            warnings.warn(
                "No tuning data: hyperparameters are drawn from their current distributions, which do not change. "
                "Pass `tuning_data` or `tuning_split` to `fit`",
                stacklevel=4,
            )
        self._take_trace(rows, before)
        tuning.rows = rows

    def _take_trace(self, rows: TuningRows | None, before: TuningRows | None) -> None:
        """Keeps one trace each for fits with and without tuning data."""
        ensemble, traces = self.ensemble, self._traces
        if (rows is None) != (before is None):
            traces[before is not None] = (ensemble.train_function, before)
            ensemble.train_function, before = traces.pop(rows is not None, (None, None))
        if rows is not None and not rows.takes_the_place_of(before):
            ensemble.train_function = None  # traced with other data

    def forget_traces(self) -> None:
        """Discards the traces of training steps."""
        self.ensemble.train_function = None
        self._traces.clear()

    @contextmanager
    def as_it_was_if_refused(self) -> Iterator[None]:
        """Context manager that restores the state of the last `fit` after an error before the first step."""
        ensemble = self.ensemble
        before = (self.tuning.rows, self.batch_size, self.window)
        temperatures, decisions, step = ensemble.temperatures, ensemble._decisions, int(ensemble.step.numpy())
        try:
            yield
        except BaseException:
            if int(ensemble.step.numpy()) == step:
                ensemble._set_temperatures(temperatures)
                ensemble._set_decisions(decisions)
                self.tuning.rows, self.batch_size, self.window = before
                self.forget_traces()  # a trace may contain the rejected data
            raise


def with_guards(callbacks: Any) -> Any:
    """Returns the callbacks of `fit` with those that monitor the members."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    if isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [callbacks]
    return [LeaveOutDiverged(), *(callbacks or []), StopOnNaN(), SameStart()]
