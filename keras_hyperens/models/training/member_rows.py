"""Training samples of each member in a step: its own batch, the same batch, or a part of it.

The shared kernels of a hyper-batch ensemble receive the mean of the members' gradients. If all members use the same B
samples, it is the gradient of B samples, at the cost of M * B; with distinct batches it is that of M * B samples.
"""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class Batch(NamedTuple):
    """Training data of one member in one step, as in `keras.utils.unpack_x_y_sample_weight`."""

    x: Any
    y: Any
    sample_weight: Any

    @property
    def size(self) -> Tensor:
        """Returns the number of samples, a scalar tensor."""
        return tf.shape(keras.tree.flatten(self.x)[0])[0]


def split(batch: Batch, ensemble_size: int) -> list[Batch]:
    """Splits a batch into B // M samples per member; with fewer than M samples some are repeated, others dropped."""
    size = tf.maximum(batch.size // ensemble_size, 1)
    places = tf.range(ensemble_size * size) % batch.size

    def part(leaf: Any, member: int) -> Any:
        return None if leaf is None else tf.gather(leaf, places[member * size : (member + 1) * size])

    return [
        keras.tree.map_structure(lambda leaf, member=member: part(leaf, member), batch)
        for member in range(ensemble_size)
    ]


def joined(batches: Sequence[Batch]) -> Batch:
    """Joins all members' samples to one batch `[M*B, ...]`, member by member."""
    return keras.tree.map_structure(lambda *leaves: None if leaves[0] is None else tf.concat(leaves, 0), *batches)


class BatchWindow:
    """Latest batches of a stream, which differ between members: member k uses the batch of `k * lag` steps ago.

    Each member uses all samples of an epoch once, a few steps later than the previous member, and a batch is read and
    decoded once. Before `(M - 1) * lag` batches are available, and if the sizes of batches differ (the last batch of an
    epoch is smaller), all members use the current batch.

    Every replica has its own window. It is not part of a model and is not saved.

    Args:
        specs: Shapes and dtypes of a batch's `(x, y, sample_weight)`, structures of `tf.TensorSpec` or `None`.
        size: Batch size of one replica, or `None` if unknown.
        ensemble_size: M.
        lag: Number of steps between members.
    """

    def __init__(self, specs: TensorTree, size: int | None, ensemble_size: int, lag: int) -> None:
        self.specs, self.size, self.ensemble_size, self.lag = specs, size, ensemble_size, lag
        leaves = [spec for spec in keras.tree.flatten(specs) if spec is not None]
        self.past = [[_buffer(spec, size) for spec in leaves] for _ in range((ensemble_size - 1) * lag)]
        self.count = _variable(tf.zeros((), tf.int64))  # number of batches so far

    def serves(self, specs: TensorTree, size: int | None, ensemble_size: int, lag: int) -> bool:
        """Whether the window supports such batches; if so, resets it."""
        is_same = (self.specs, self.size, self.ensemble_size, self.lag) == (specs, size, ensemble_size, lag)
        if is_same:
            self.count.assign(tf.zeros((), tf.int64))
        return is_same

    def batches(self, batch: Batch) -> list[Batch]:
        """Returns the batch of each member; called inside a replica."""
        present = [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]
        latest = self.past[0]
        present = [tf.cast(leaf, buffer.dtype) for leaf, buffer in zip(present, latest, strict=True)]
        is_like_latest = tf.reduce_all(
            [tf.reduce_all(tf.shape(leaf) == tf.shape(buffer)) for leaf, buffer in zip(present, latest)]
        )
        starts = (self.count == 0) | (tf.shape(present[0])[0] > tf.shape(latest[0])[0])
        is_full = is_like_latest & (self.count >= len(self.past))
        size = tf.shape(present[0])[0]
        members = tf.cond(
            is_full,
            lambda: [present, *([_read(b, leaf, size) for b, leaf in zip(old, present)] for old in self._seen())],
            lambda: [present] * self.ensemble_size,
        )
        tf.cond(starts | is_like_latest, lambda: self._push(present, starts), lambda: False)
        return [self._packed(batch, leaves) for leaves in members]

    def _seen(self) -> list[list[tf.Variable]]:
        """Returns the buffers of members 1 to M - 1."""
        return self.past[self.lag - 1 :: self.lag]

    def _push(self, present: list[Any], starts: Tensor) -> bool:
        padded = [tf.concat([leaf, buffer[tf.shape(leaf)[0] :]], 0) for leaf, buffer in zip(present, self.past[0])]
        newer = [padded, *self.past[:-1]]  # padding only serves compilers: batches here are complete
        for buffers, leaves in reversed(list(zip(self.past, newer))):
            for buffer, leaf in zip(buffers, leaves, strict=True):
                buffer.assign(leaf)
        self.count.assign(tf.where(starts, tf.ones((), tf.int64), self.count + 1))
        return True

    @staticmethod
    def _packed(batch: Batch, leaves: list[Any]) -> Batch:
        rest = iter(leaves)
        return keras.tree.map_structure(lambda leaf: None if leaf is None else next(rest), batch)


def _buffer(spec: tf.TensorSpec, size: int | None) -> tf.Variable:
    # Without a static shape, which TensorFlow's optimizer would also assume for the last, smaller batch.
    shape = [length or 0 for length in (size, *spec.shape[1:])]
    return _variable(tf.zeros(shape, spec.dtype), tf.TensorShape(None))


def _variable(value: Any, shape: Any = None) -> tf.Variable:
    return tf.Variable(
        value,
        trainable=False,
        shape=shape,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def _read(buffer: tf.Variable, like: TensorTree, size: Any) -> Any:
    """Returns a buffer in the shape of the current batch, because compilers require equal shapes in both branches."""
    value = tf.convert_to_tensor(buffer)[:size]
    return tf.ensure_shape(value, like.shape)
