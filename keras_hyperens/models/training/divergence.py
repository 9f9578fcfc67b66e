"""Training step that isolates diverging members.

A member with a non-finite loss or gradient is excluded from the step: its own weights and optimizer state stay
unchanged. If its gradients affect weights that members share, the step is skipped and counted. A member that stays
non-finite is excluded permanently (`LeaveOutDiverged`).
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens.layers.normalization import MemberNormalization
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import hyper_layers
from keras_hyperens.models.training.replicas import assign_all
from keras_hyperens.models.training.replicas import assign_where
from keras_hyperens.models.training.replicas import summed
from keras_hyperens.models.training.replicas import values_of
from keras_hyperens.types import Tensor

OF_ALL, SHARED = -1, None  # owners of a variable besides a member's index: all members by slice, or shared


class Counts:
    """Number of skipped steps, and of steps without each member, since `restart`.

    Args:
        ensemble_size: M.
    """

    def __init__(self, ensemble_size: int) -> None:
        self.in_a_row, self.left_out = _counter((ensemble_size,)), _counter((ensemble_size,))
        self.skipped, self.steps = _counter(()), _counter(())

    def restart(self) -> None:
        for counter in (self.left_out, self.skipped, self.steps):
            counter.assign(np.zeros(counter.shape))

    def add(self, fine: Tensor, goes: Tensor, living: Sequence[int]) -> None:
        """Counts a step with finite members `fine` `[M]`, which was skipped unless `goes`."""
        counts = np.isin(np.arange(fine.shape[0]), living)
        # If no member is finite, the cause is not a member.
        bad = tf.cast(~fine & counts & tf.reduce_any(fine & counts), "int32")
        old = [tf.convert_to_tensor(each) for each in (self.in_a_row, self.left_out, self.skipped, self.steps)]
        in_a_row = tf.where(fine, 0, old[0] + bad)
        new = [in_a_row, old[1] + bad, old[2] + tf.cast(~goes, "int32"), old[3] + 1]
        assign_all([self.in_a_row, self.left_out, self.skipped, self.steps], new)


def _counter(shape: tuple[int, ...]) -> keras.Variable:
    return keras.Variable(np.zeros(shape), dtype="int32", trainable=False, aggregation="only_first_replica")


def owners_of(network: keras.Model, variables: Sequence[keras.Variable]) -> list[int | None]:
    """Returns the owner of each variable: a member's index, `OF_ALL` (slice k for member k) or `SHARED`."""
    found: dict[int, int | None] = {}
    for layer in hyper_batch_layers(network):
        own = [*layer.fast_weights, *([] if layer.is_shared else [layer.kernel])]
        own += [layer.bias] if layer.use_bias else []
        if layer.is_conditioned:
            own += [layer.delta_bias] if layer.use_bias else []
            own += [] if layer.shared_embedding else layer.embeddings
        found |= {id(variable): OF_ALL for variable in own}
    for layer in hyper_layers(network):
        if isinstance(layer, MemberNormalization):
            found |= {id(each): member for member, part in enumerate(layer.parts) for each in part.variables}
    return [found.get(id(variable), SHARED) for variable in variables]


def statistics_of(network: keras.Model) -> list[keras.Variable]:
    """Returns the state that a forward pass in training changes, such as moving averages of normalization."""
    layers = [layer for layer in network._flatten_layers() if layer.trainable]
    every = {id(each): each for layer in layers for each in layer._non_trainable_variables}
    return [each for each in every.values() if keras.backend.is_float_dtype(each.dtype)]


class GuardedStep:
    """One update of all weights without non-finite values.

    Args:
        network: Network whose trainable variables are updated.
        optimizer: Optimizer, built for them.
        ensemble_size: M.
        living: Indices of the members that are not excluded permanently.
        have_losses: Whether each member has its own loss; with one loss, all gradients become infinite at once.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        ensemble_size: int,
        living: Sequence[int],
        have_losses: bool,
    ) -> None:
        self.variables, self.optimizer = network.trainable_variables, optimizer
        self.ensemble_size, self.living = ensemble_size, np.isin(np.arange(ensemble_size), living)
        self.have_losses = have_losses
        self.owners = owners_of(network, self.variables)
        self.statistics = statistics_of(network)
        self.owners_of_statistics = owners_of(network, self.statistics)
        self.before = [tf.identity(each) for each in self.statistics]  # at the start of the step
        self.scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

    def apply(self, gradients: Sequence[Any], fine: Tensor, update: Callable[[Sequence[Any]], None]) -> tuple[Any, Any]:
        """Updates the weights by gradients.

        Args:
            gradients: Gradients of the variables, some may be `None`.
            fine: `[M]`, whether each member's loss or outputs are finite.
            update: Function that applies finite gradients.

        Returns:
            Which members were finite, `[M]`, and whether the step was applied.
        """
        if tf.distribute.has_strategy() or not self.living.all():  # some strategies forbid conditional updates
            return self._careful(gradients, fine, update)
        is_finite = tf.reduce_all(fine)
        if not self.scales:  # a loss scale optimizer checks itself, and adapts its scale
            norms = [tf.cast(tf.nn.l2_loss(values_of(each)), "float32") for each in gradients if each is not None]
            is_finite &= tf.math.is_finite(tf.add_n(norms))
        is_finite &= self._statistics_finite()

        def plain() -> tuple[Any, Any]:
            update(gradients)
            return tf.ones_like(fine), tf.constant(True)

        otherwise = self._careful if self.scales or SHARED not in self.owners else self._skipped
        return tf.cond(is_finite, plain, lambda: otherwise(gradients, fine, update))

    def _skipped(self, gradients: Sequence[Any], fine: Tensor, update: Any) -> tuple[Any, Any]:
        """Skips the step, whose non-finite values affect shared weights, and returns the responsible members."""
        finite, _ = self._verdict([None if each is None else tf.convert_to_tensor(each) for each in gradients], fine)
        self._restore_statistics(finite, tf.constant(False))
        return finite, tf.constant(False)

    def _careful(self, gradients: Sequence[Any], fine: Tensor, update: Any) -> tuple[Any, Any]:
        dense = [None if each is None else tf.convert_to_tensor(each) for each in gradients]
        finite, goes = self._verdict(dense, fine)
        # If no member is finite, a loss scale optimizer must receive the gradients: it skips the step itself.
        sees_all = self.scales & ~tf.reduce_any(finite & self.living)
        fine, goes, skips = finite | sees_all, goes | sees_all, ~goes
        keeps = [self._keeps(owner, variable, fine, goes) for owner, variable in zip(self.owners, self.variables)]
        state, of_state = self._state(keeps, goes)
        before = [tf.identity(each) for each in state]
        update([None if each is None else tf.where(keep, each, 0) for each, keep in zip(dense, keeps, strict=True)])
        assign_where(of_state, state, before)
        self._restore_statistics(finite, goes)
        return finite, ~skips

    def _verdict(self, gradients: Sequence[Any], fine: Tensor) -> tuple[Any, Any]:
        """Returns which members are finite, and whether to apply the step: shared gradients must be finite, too."""
        others_fine = tf.constant(True)
        for gradient, owner in zip(gradients, self.owners, strict=True):
            if gradient is None or (self.scales and owner is not SHARED):
                continue
            if owner is SHARED or not self.have_losses:
                others_fine &= tf.math.is_finite(tf.nn.l2_loss(gradient))
            else:
                fine &= self._of_members(gradient, owner)
        others_fine &= self._statistics_finite()
        all_fine = tf.reduce_all(fine | ~self.living)
        if self.scales:  # the cause may be the loss scale, unless a loss is also non-finite
            others_fine |= all_fine
        elif SHARED in self.owners:
            others_fine &= all_fine
        fine, others_fine = (_on_all_replicas(each) for each in (fine, others_fine))
        return fine, others_fine & tf.reduce_any(fine & self.living)

    def _statistics_finite(self) -> Tensor:
        """Whether shared statistics are finite: an infinite variance leads to outputs of 0 and finite losses."""
        pairs = zip(self.owners_of_statistics, self.statistics, strict=True)
        shared = [tf.convert_to_tensor(each) for owner, each in pairs if owner is SHARED]
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in shared]) if shared else True

    def _of_members(self, gradient: Any, owner: int) -> Tensor:
        """Whether each member's gradient, also squared as in optimizers, is finite, `[M]`."""
        if owner == OF_ALL:
            squares = tf.reduce_sum(tf.square(gradient), axis=list(range(1, len(gradient.shape))))
            return tf.math.is_finite(squares)
        is_finite = tf.math.is_finite(tf.nn.l2_loss(gradient))
        return is_finite | (np.arange(self.ensemble_size) != owner)

    def _keeps(self, owner: int | None, variable: Any, fine: Tensor, goes: Tensor) -> Tensor:
        """Returns where a variable keeps its new values."""
        if owner is SHARED:
            return goes
        moves = fine & self.living & goes
        if owner != OF_ALL:
            return moves[owner]
        return tf.reshape(moves, [self.ensemble_size, *[1] * (len(variable.shape) - 1)])

    def _state(self, keeps: Sequence[Any], goes: Tensor) -> tuple[list[Any], list[Any]]:
        """Returns all variables that an update changes, and where each keeps its new values."""
        slots: dict[int, Any] = {}
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        for entry in vars(inner).values():
            if isinstance(entry, list | tuple) and len(entry) == len(self.variables):
                for slot, variable, keep in zip(entry, self.variables, keeps, strict=True):
                    if getattr(slot, "shape", None) == variable.shape:
                        slots[id(slot)] = keep
        state = [*self.variables, *self.optimizer.variables]
        return state, [*keeps, *(slots.get(id(each), goes) for each in self.optimizer.variables)]

    def _restore_statistics(self, fine: Tensor, goes: Tensor) -> None:
        all_fine = goes & tf.reduce_all(fine | ~self.living)
        owners = zip(self.owners_of_statistics, self.statistics, strict=True)
        keeps = [all_fine if owner is SHARED else self._keeps(owner, each, fine, goes) for owner, each in owners]
        finite = [tf.math.is_finite(tf.convert_to_tensor(each)) for each in self.statistics]
        assign_where([keep & each for keep, each in zip(keeps, finite)], self.statistics, self.before)


def _on_all_replicas(is_fine: Any) -> Tensor:
    (failures,) = summed([tf.cast(~is_fine, "float32")])
    return failures == 0


def make_harmless(network: keras.Model, members: Sequence[int], living: Sequence[int]) -> None:
    """Gives excluded members the shared weights or statistics of the first remaining member.

    Shared weights continue to change, and an excluded member with its own last factors could become infinite again and
    affect other members. Weights that are not shared stay unchanged.
    """
    variables = [*network.trainable_variables, *statistics_of(network)]
    owners = owners_of(network, variables)
    if SHARED not in owners:
        return
    for variable, owner in zip(variables, owners, strict=True):
        if owner == OF_ALL:
            values = keras.ops.convert_to_numpy(variable).copy()
            values[list(members)] = values[living[0]]
            variable.assign(values)
    for layer in hyper_layers(network):
        if isinstance(layer, MemberNormalization):
            for member in members:
                layer.parts[member].set_weights(layer.parts[living[0]].get_weights())
