"""Update of the distributions' bounds and of the temperature, on a batch of tuning data."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_hyperens import likelihoods
from keras_hyperens import losses
from keras_hyperens import masks
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.layers.penalized import of_members
from keras_hyperens.models.training.draws import TUNING_DRAW
from keras_hyperens.models.training.draws import draw
from keras_hyperens.models.training.fused_updates import fused_updates
from keras_hyperens.models.training.member_rows import Batch
from keras_hyperens.models.training.replicas import all_finite
from keras_hyperens.models.training.replicas import assign_all
from keras_hyperens.models.training.replicas import assign_where
from keras_hyperens.models.training.replicas import equally_finite
from keras_hyperens.models.training.replicas import replica_number
from keras_hyperens.models.training.replicas import summed
from keras_hyperens.models.training.settings import TrainingSettings
from keras_hyperens.models.training.tuning_rows import TuningRows
from keras_hyperens.types import Bounds
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class TuningGradients(NamedTuple):
    """Gradients of a tuning batch: of lower and upper bounds, of inverse temperatures, and the loss."""

    bounds: list[Any]
    slopes: Any  # [outputs]
    curvatures: Any
    loss: Any


class TuningStep:
    """Tunes hyperparameters and temperature every few steps.

    Args:
        ensemble: A `HyperBatchEnsemble`.
        settings: Tuning options.
        optimizer: Optimizer of the bounds.
        objective: Maps `(x, y, raw, sample_weight)` to the compiled loss, without penalties and label smoothing.
    """

    def __init__(
        self,
        ensemble: keras.Model,
        settings: TrainingSettings,
        optimizer: keras.optimizers.Optimizer,
        objective: Callable[..., Tensor],
    ) -> None:
        self.ensemble, self.members, self.settings = ensemble, ensemble._members, settings
        self.optimizer, self.objective, self.prior = optimizer, objective, ensemble._prior
        self.rows: TuningRows | None = None
        self.mean_loss = keras.metrics.Mean(name="tuning_loss")

    @property
    def moves(self) -> bool:
        """Whether there is anything to tune."""
        return self.moves_bounds or self.moves_temperature

    @property
    def moves_bounds(self) -> bool:
        """Whether a kernel depends on hyperparameters."""
        return self.members.respond

    @property
    def moves_temperature(self) -> bool:
        """Whether an output has a temperature that is tuned."""
        of_outputs = keras.tree.flatten(self.ensemble.likelihoods)
        return self.settings.tune_temperature and any(likelihood.has_temperature for likelihood in of_outputs)

    def run(self, batch_size: Tensor) -> None:
        """Runs one update, if this step has one.

        Some strategies forbid an optimizer inside a condition. There only the gradient is conditional: the optimizer
        runs at every step, and if the step does not tune, all changes are reverted.
        """
        number, every = self.ensemble.step.value, self.settings.tuning_every
        is_tuning = number % every == 0

        def gradients() -> TuningGradients:
            return self.gradients(self.ensemble.distribution.bounds(), number // every, batch_size)

        if tf.distribute.has_strategy():
            self._update(tf.cond(is_tuning, gradients, self._nothing), is_tuning, batch_size)
        else:
            tf.cond(is_tuning, lambda: self._update(gradients(), is_tuning, batch_size), lambda: None)

    def _update(self, found: TuningGradients, is_tuning: Tensor, batch_size: Tensor) -> None:
        """Moves bounds and temperature, unless a value is not finite or tuning has not begun."""
        gradients: Sequence[Any] = found.bounds
        slopes, curvatures, loss = found.slopes, found.curvatures, found.loss
        distribution, temperature = self.ensemble.distribution, self.ensemble.temperature
        variables = [distribution.lower, distribution.upper]
        of_bounds = [*variables, *self.optimizer.variables]
        of_every_step = [*temperature.state, *self.prior.state]
        state = [*of_bounds, *of_every_step]
        before = [tf.identity(variable) for variable in state]
        if self.settings.prior_weight and self.moves_bounds:
            gradients = self._held(gradients, batch_size)
        gradients = equally_finite(gradients, self.optimizer)
        with fused_updates(self.optimizer):
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        assign_all(temperature.state, temperature.updated(*summed([slopes, curvatures])))
        is_finite = all_finite(state)  # on all replicas: gradients are summed
        assign_all(variables, distribution.project(distribution.bounds()))
        may_move = is_tuning & (self.ensemble.step.value >= self.settings.tuning_warmup)
        changes = [may_move] * len(of_bounds) + [is_tuning] * len(of_every_step)
        assign_where([is_finite & change for change in changes], state, before)
        counts = is_tuning & tf.math.is_finite(loss)
        self.mean_loss.update_state(tf.where(counts, loss, 0.0), sample_weight=tf.cast(counts, tf.float32))

    def _held(self, gradients: Sequence[Tensor], batch_size: Tensor) -> list[Tensor]:
        """Returns the gradients of this replica, with its part of the pull to the initial bounds."""
        rows: Any = self.rows
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        scale = self.optimizer.scale_loss(tf.ones(()))
        state = self.prior.updated([gradient / scale for gradient in summed(gradients)])
        bounds = self.ensemble.distribution.bounds()
        pulls = self.prior.pull(bounds, state, rows.num_batches(batch_size, replicas))
        assign_all(self.prior.state, state)
        factor = scale * self.settings.prior_weight / replicas  # gradients are summed, as in Keras
        return [gradient + factor * pull for gradient, pull in zip(gradients, pulls, strict=True)]

    def _nothing(self) -> TuningGradients:
        still = tf.zeros_like(tf.convert_to_tensor(self.ensemble.temperature.logarithms))
        bounds = self.ensemble.distribution.bounds()
        return TuningGradients([tf.zeros_like(bound) for bound in bounds], still, still, tf.zeros(()))

    def gradients(self, bounds: Bounds, number: Tensor, batch_size: Tensor) -> TuningGradients:
        """Returns the gradients of tuning batch `number` for the bounds and the temperature.

        The objective of the bounds is the tuning loss, at the current temperature, minus `entropy_weight` times the
        entropy of all distributions. The forward pass is in inference mode, without penalties: hyperparameters only act
        through the kernels, and a kernel's center is a constant.
        """
        rows: Any = self.rows
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        batch = Batch(*rows.batch(number, batch_size, replica_number(), replicas))
        found = self._nothing()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(bounds)
            values = draw(self.ensemble, bounds, self.settings.rows_of_draws(batch.size), TUNING_DRAW)
            with hyperparameter_scope(values, self.members.centers(bounds)):
                outputs = self.ensemble._member_outputs(batch.x, training=False)
            loss = self._loss(batch, outputs)
            entropy = self.ensemble.distribution.entropy(bounds) / replicas  # gradients are summed, as in Keras
            scaled = self.optimizer.scale_loss(loss - self.settings.entropy_weight * entropy)
        if self.moves_bounds:
            found = found._replace(bounds=list(tape.gradient(scaled, bounds)))
        if self.moves_temperature:
            fixed = masks.mapped(tf.stop_gradient, outputs)
            slopes, curvatures = self.ensemble.temperature.slopes_and_curvatures(
                lambda logarithms: tf.cast(self._loss(batch, fixed, logarithms), tf.float32)
            )
            found = found._replace(slopes=slopes, curvatures=curvatures)
        return found._replace(loss=tf.cast(loss * replicas, tf.float32))

    def _loss(self, batch: Batch, outputs: TensorTree, logarithms: Tensor | None = None) -> Tensor:
        if self.ensemble.loss is None:
            return self._added_loss()

        def loss_of(raw: TensorTree, member: int = 0) -> Tensor:
            raw = masks.mapped(likelihoods.at_least_float32, raw)
            tempered = self.ensemble.temperature.of_raw(raw, self.ensemble.likelihoods_of(raw), logarithms)
            return self.objective(batch.x, batch.y, tempered, batch.sample_weight)

        if self.settings.tuning_loss == "member":
            return losses.member_loss(loss_of, outputs)
        return losses.ensemble_loss(loss_of, outputs, self.ensemble.likelihoods_of(outputs))

    def _added_loss(self) -> Tensor:
        """Returns the loss that layers added in this forward pass, without penalties, for networks without labels."""
        layers = self.ensemble.network._flatten_layers()
        added = [loss for layer in layers for loss in layer._get_own_losses() if of_members(loss) is None]
        if not added:
            raise ValueError(
                "Tuning requires a loss: compile the ensemble with one, or use a layer that adds a loss. "
                "Received: loss=None"
            )
        return tf.add_n([tf.cast(self.ensemble._aggregate_additional_loss(loss), "float32") for loss in added])
