"""Group of candidates that one `fit` trains as the members of one network, equivalent to separate training."""

from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import masks
from keras_hyperens.conversion.probing import Facts
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.hyperparameters.scope import member_scope
from keras_hyperens.layers.members import split_members
from keras_hyperens.layers.members import tile_members
from keras_hyperens.layers.normalization import MemberNormalization
from keras_hyperens.models.network import check_rows
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import hyper_layers
from keras_hyperens.models.network import may_mix_rows
from keras_hyperens.search.grouped.joint import IncompatibleModelsError
from keras_hyperens.search.grouped.joint import Joint
from keras_hyperens.search.grouped.joint import join
from keras_hyperens.search.grouped.member_rates import rates_of
from keras_hyperens.search.grouped.member_rates import why_not
from keras_hyperens.search.grouped.member_rates import with_member_rates
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class CandidateGroup(keras.Model):
    """M compiled models of the same structure with their own values, learning rates and weights.

    `fit` minimizes the sum of the members' losses, each with its penalties and its label smoothing, so the gradients of
    every member equal those of separate training; all use the same batches in the same order. Logs are arrays `[M]`.
    Groups reuse the traced functions: `start` sets new weights and values of the members.

    Args:
        model: One of the models.
        sites: Settings in which they differ.
        ensemble_size: M.
        batch: A few samples, `(x, y, sample_weight)`, to build the metrics.

    Raises:
        IncompatibleModelsError: If the result would differ from separate training.
    """

    def __init__(self, model: keras.Model, sites: Any, ensemble_size: int, batch: TensorTree) -> None:
        reason = "there is no optimizer" if model.optimizer is None else why_not(model.optimizer)
        if reason or model.run_eagerly:
            raise IncompatibleModelsError(reason or "the model runs eagerly")
        super().__init__()
        self.ensemble_size = ensemble_size
        self.joint: Joint = join(model, sites, ensemble_size)
        self.network = self.joint.network
        self._numbers = tf.Variable(np.zeros([ensemble_size, 1, len(sites)], "float32"), trainable=False)
        self._others = SimpleNamespace(scorers=[_scorer(model, self.joint) for _ in range(ensemble_size)])
        self.built = True
        self._check(model)
        config = model.get_compile_config()
        passed = {name: config[name] for name in ("jit_compile", "steps_per_execution") if name in config}
        variables = self.network.trainable_variables
        self.compile(with_member_rates(model.optimizer, ensemble_size, variables, self._owners(variables)), **passed)
        self.test_step(batch)  # metrics create their variables at the first batch
        self._initial = [variable.numpy() for variable in self.optimizer.variables]

    def _check(self, model: keras.Model) -> None:
        if not hyper_batch_layers(self.network):
            raise IncompatibleModelsError("nothing in the model has a kernel")
        if may_mix_rows(self.network):
            try:
                with hyperparameter_scope(self._numbers):
                    check_rows(self.network, model.input, self.ensemble_size)
            except ValueError as error:
                raise IncompatibleModelsError(str(error)) from error

    def _owners(self, variables: Sequence[keras.Variable]) -> list[int | None]:
        """Returns the member of each variable, `None` for variables with one slice per member."""
        found = {
            id(variable): member
            for layer in hyper_layers(self.network)
            if isinstance(layer, MemberNormalization)
            for member, part in enumerate(layer.parts)
            for variable in part.variables
        }
        return [found.get(id(variable)) for variable in variables]

    def start(self, models: Sequence[keras.Model], facts: Sequence[Facts], seed: int, steps: int | None) -> None:
        """Starts a group with the weights and values of these models.

        Args:
            models: One per member, as returned by the hypermodel.
            facts: Properties of the models.
            seed: Seed of noise and dropout.
            steps: Total number of steps, if known.

        Raises:
            IncompatibleModelsError: If the models are not compatible.
        """
        self.joint.adopt(models)
        self._numbers.assign(self.joint.values(facts))
        for variable, value in zip(self.optimizer.variables, self._initial, strict=True):
            variable.assign(value)
        self.optimizer.rates.assign(_table([rates_of(model.optimizer, steps) for model in models]))
        generators = [layer.seed_generator for layer in hyper_layers(self.network) if hasattr(layer, "seed_generator")]
        states = np.random.SeedSequence(seed).generate_state(len(generators)) % 2**31
        for generator, state in zip(generators, states, strict=True):
            generator.state.assign(ops.convert_to_tensor([state, 0], generator.state.dtype))

    def keep(self, members: Sequence[int], kept: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
        """Copies the weights of these members over their previous copies.

        Returns:
            The argument of `restore`. The first call copies the weights of all members.
        """
        found = list(kept)
        if found and not members:
            return found
        now = [ops.convert_to_numpy(variable) for variable in self.network.weights]
        if not found:
            return [each.copy() for each in now]
        for place, owner in enumerate(self._owners(self.network.weights)):
            if owner in members:
                found[place] = now[place].copy()
            elif owner is None:
                found[place][list(members)] = now[place][list(members)]
        return found

    def restore(self, kept: Sequence[np.ndarray]) -> None:
        """Restores the copied weights of the members."""
        for variable, value in zip(self.network.weights, kept, strict=True):
            variable.assign(value)

    def release(self, member: int, model: keras.Model) -> None:
        """Assigns the weights of a member to the model."""
        self.joint.release(member, self._numbers.numpy(), model)

    @property
    def scorers(self) -> list[keras.Model]:
        """Models without layers, each with the compiled loss and metrics of one member."""
        return self._others.scorers

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [metric for scorer in self._others.scorers for metric in scorer.metrics]

    @property
    def losses(self) -> list[Any]:
        return []  # losses of layers are means over members: see `_penalties`

    def get_metrics_result(self) -> dict[str, Any]:
        parts = [scorer.get_metrics_result() for scorer in self._others.scorers]
        return {name: ops.stack([part[name] for part in parts]) for name in parts[0]}

    def call(self, inputs: TensorTree, training: bool | None = None) -> list[Any]:
        """Returns each member's outputs for a batch."""
        rows = keras.tree.map_structure(lambda leaf: tile_members(leaf, self.ensemble_size), inputs)
        with hyperparameter_scope(self._numbers):
            outputs = self.network(rows, training=training)

        def of_members(rows: TensorTree) -> Tensor:
            return split_members(rows, self.ensemble_size)

        members = masks.mapped(of_members, outputs, mask=of_members)
        return [masks.member(members, k) for k in range(self.ensemble_size)]

    def train_step(self, data: TensorTree) -> dict[str, Any]:
        variables = self.network.trainable_variables
        with hyperparameter_scope(self._numbers):  # includes the gradient, in which a rematerialized layer runs again
            with tf.GradientTape() as tape:
                losses, outputs = self._member_losses(data, training=True)
                total = tf.add_n(losses)
            gradients = tape.gradient(total, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._logs(data, losses, outputs)

    def test_step(self, data: TensorTree) -> dict[str, Any]:
        return self._logs(data, *self._member_losses(data, training=False))

    def predict_step(self, data: TensorTree) -> TensorTree:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self(x, training=False)

    def _member_losses(self, data: TensorTree, training: bool) -> tuple[list[Any], list[Any]]:
        """Returns each member's loss with its penalties, and its outputs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self(x, training=training)
        penalties = self._penalties()
        names = self.joint.space.names
        losses = []
        for k, scorer in enumerate(self._others.scorers):
            numbers = {name: self._numbers[k, :, column] for column, name in enumerate(names)}
            with member_scope(numbers) if names else nullcontext():
                loss = scorer.compute_loss(x, y, outputs[k], sample_weight, training=training)
            losses.append(loss + tf.cast(penalties[k], loss.dtype))
        return losses, outputs

    def _penalties(self) -> list[Any]:
        """Returns the sum of each member's penalties."""
        with hyperparameter_scope(self._numbers):
            every = [
                ops.reshape(penalty, (self.ensemble_size,))
                for layer in hyper_batch_layers(self.network)
                for penalty in layer.penalties(layer.draw(None))  # kernels are independent of the inputs
            ]
        return ops.unstack(sum(every)) if every else [0.0] * self.ensemble_size

    def _logs(self, data: TensorTree, losses: list[Any], outputs: list[Any]) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch_size = tf.shape(keras.tree.flatten(x)[0])[0]
        for scorer, loss, output in zip(self._others.scorers, losses, outputs, strict=True):
            next(metric for metric in scorer.metrics if metric.name == "loss").update_state(loss, batch_size)
            scorer.compute_metrics(x, y, output, sample_weight)
        return self.get_metrics_result()


def _scorer(model: keras.Model, joint: Joint) -> keras.Model:
    """Returns a model without layers with the compiled loss and metrics of one member."""
    scorer = keras.Model()
    if getattr(model, "output_names", None):
        scorer.output_names = model.output_names
    config = model.get_compile_config()
    metrics = {
        name: keras.saving.deserialize_keras_object(config.get(name)) for name in ("metrics", "weighted_metrics")
    }
    scorer.compile(model.optimizer.__class__(), **joint.compiled, **metrics)
    return scorer


def _table(rates: list[np.ndarray]) -> np.ndarray:
    """Returns learning rates `[steps or 1]` of each member as one array `[steps or 1, M]`."""
    length = max(map(len, rates))
    return np.stack([np.resize(each, length) for each in rates], axis=1)
