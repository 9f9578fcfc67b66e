"""Members of one network: their outputs and hyperparameters."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_hyperens import masks
from keras_hyperens.hyperparameters import current_hyperparameters
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution
from keras_hyperens.hyperparameters.scope import current_centers
from keras_hyperens.layers.members import split_members
from keras_hyperens.models.export import Servable
from keras_hyperens.models.folded import member_by_member
from keras_hyperens.models.network import check_rows
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import member_network
from keras_hyperens.models.training.divergence import make_harmless
from keras_hyperens.types import Bounds
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class Members:
    """M members that share a network, each with its own distribution of hyperparameters.

    Args:
        network: A Keras model of hyper-batch and ordinary layers.
        ensemble_size: M.
        distribution: Distribution of all members' hyperparameters.
        response: `"centered"` or `"reference"`; see `HyperBatchEnsemble`.
    """

    def __init__(
        self, network: keras.Model, ensemble_size: int, distribution: HyperparameterDistribution, response: str
    ) -> None:
        self.network, self.ensemble_size = network, ensemble_size
        self.distribution, self.response = distribution, response
        self.left_out: tuple[int, ...] = ()
        self._are_rows_checked = False

    @property
    def living(self) -> list[int]:
        """Indices of the members that training did not exclude."""
        return [k for k in range(self.ensemble_size) if k not in self.left_out]

    @property
    def respond(self) -> bool:
        """Whether a kernel depends on hyperparameters."""
        return any(layer.is_conditioned for layer in hyper_batch_layers(self.network))

    def outputs(self, inputs: Sequence[Any], training: bool | None = None) -> TensorTree:
        """Returns raw outputs of every remaining member for its own batch, `[L, B, ..., C]`.

        They are computed at the scope's values, or at the members' own values outside of any scope.

        Args:
            inputs: One batch per member, M in total, of equal size.
            training: As in `keras.Model.call`.
        """
        if current_hyperparameters() is None:
            with self.scope():
                return self.outputs(inputs, training)
        batch_size = ops.shape(keras.tree.flatten(inputs[0])[0])[0]
        rows = keras.tree.map_structure(lambda *leaves: ops.concatenate(leaves), *inputs)
        outputs = self.network(rows, training=training)

        def of_members(rows: TensorTree) -> Tensor:
            members = split_members(rows, self.ensemble_size, batch_size)
            return tf.gather(members, self.living) if self.left_out else members

        return masks.mapped(of_members, outputs, mask=of_members)

    def values(self) -> Tensor:
        """Returns the values of the members in prediction, `[M, 1, P]`, natural scale.

        With the centered response, the center of each interval, where the response is zero; with the reference
        response, the mean of the distribution.
        """
        of_bounds = self.distribution.middle if self.response == "centered" else self.distribution.mean
        return ops.expand_dims(of_bounds(self.distribution.bounds()), 1)

    def centers(self, bounds: Bounds | None = None) -> Tensor:
        """Returns the points of zero response, `[M, 1, P]`, natural scale; `None` with the reference response."""
        if self.response != "centered":
            return None
        middle = self.distribution.middle(self.distribution.bounds() if bounds is None else bounds)
        return ops.stop_gradient(ops.expand_dims(middle, 1))

    def scope(self, as_numpy: bool = False) -> AbstractContextManager[None]:
        """Returns the scope of a prediction; with `as_numpy` its values are constants of a trace."""
        values, centers = self.values(), self.centers()
        if as_numpy:
            values, centers = (None if each is None else ops.convert_to_numpy(each) for each in (values, centers))
        return hyperparameter_scope(values, centers)

    def check_rows(self, batch: TensorTree) -> None:
        """Raises a `ValueError` if the network, called on such a batch, drops, adds, reorders or mixes samples."""
        is_numeric = all(spec.dtype not in (tf.string, "string") for spec in keras.tree.flatten(batch))
        if self._are_rows_checked or not is_numeric:  # strings have no synthetic inputs
            return
        with self.scope(as_numpy=True):
            check_rows(self.network, batch, self.ensemble_size)
        self._are_rows_checked = True

    def network_of(self, member: int) -> keras.Model:
        """Returns a plain Keras model of one member, with raw outputs; see `HyperBatchEnsemble.member`."""
        if not 0 <= member < self.ensemble_size:
            raise ValueError(f"`member` must be in [0, {self.ensemble_size}). Received: member={member}")
        if member in self.left_out:
            raise ValueError(
                f"Members {list(self.left_out)} diverged in training and were excluded: use one of {self.living}. "
                f"Received: member={member}"
            )
        if not self.network.built:
            raise ValueError(
                f"The network must be built: call the ensemble on a batch first. Received: {self.network.name!r}"
            )
        with self.scope(as_numpy=True):
            return member_network(self.network, member, self.distribution.space, current_hyperparameters())

    def servable(self) -> Servable:
        """Returns the variables that a served prediction reads, and its raw outputs as a function of a batch."""
        with self.scope(as_numpy=True):
            return member_by_member(self.network, self.living, current_hyperparameters(), current_centers())

    def leave_out(self, members: Sequence[int]) -> None:
        """Excludes these members from predictions; see `HyperBatchEnsemble.leave_out`."""
        left_out = {*self.left_out, *members}
        if not left_out < set(range(self.ensemble_size)):
            raise ValueError(
                f"Members must be indices below {self.ensemble_size}, and one must remain. "
                f"Received: members={list(members)}, excluded before: {list(self.left_out)}"
            )
        self.left_out = tuple(sorted(left_out))
        make_harmless(self.network, self.left_out, self.living)
