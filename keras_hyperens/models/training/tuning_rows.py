"""Tuning data of the hyperparameters: read once, stored on the device, and gathered by tuning steps."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens.models.data import batches
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

BYTES_LIMIT = 2 * 2**30  # total size of the tuning data, which stay in memory during `fit`


class TuningRows:
    """Tuning data in memory, with one batch per step.

    The samples are shuffled once, and each tuning step takes the next ones cyclically.

    Args:
        data: `(x, y)` or `(x, y, sample_weight)` of arrays, a `tf.data.Dataset`, a `keras.utils.PyDataset`, or a
            finite generator of batches.
        class_weight: As in `fit`: a dictionary from classes to weights.
        seed: Seed of the shuffle.
        before: Earlier tuning data. If their samples have the same specification, the new ones replace them on the
            device, whatever their number, and steps traced with the earlier ones use the new ones.
        need_labels: Whether samples must have labels, unless the network only learns by `add_loss`.

    Raises:
        TypeError: If `data` has another type.
        ValueError: If there are no samples or no labels, arrays differ in length, a value is NaN or infinite, or the
            data exceed `BYTES_LIMIT`.
    """

    def __init__(
        self,
        data: Any,
        class_weight: dict[int, float] | None,
        seed: int,
        before: "TuningRows | None" = None,
        need_labels: bool = True,
    ) -> None:
        x, y, sample_weight = _concatenate(
            keras.tree.map_structure(_to_numpy, batch) for batch in batches(data, "tuning_data")
        )
        if y is None and need_labels:
            raise ValueError("Tuning data must have labels. Received: y=None")
        self.size = _check_arrays(x, y, sample_weight)
        if class_weight is not None:
            sample_weight = _weigh_classes(y, sample_weight, class_weight)
        order = np.random.default_rng(seed).permutation(self.size)
        rows = keras.tree.map_structure(lambda array: None if array is None else array[order], (x, y, sample_weight))
        self._specs = keras.tree.map_structure(_spec, rows)
        self._variables: Any
        if before is not None and self._specs == before._specs:
            self._variables = before._variables
            keras.tree.map_structure(_assign, self._variables, rows)
        else:  # no constants, which a trace would keep permanently
            self._variables = keras.tree.map_structure(_variable, rows)

    def takes_the_place_of(self, before: "TuningRows | None") -> bool:
        """Whether a step traced with earlier data uses these."""
        return before is not None and self._variables is before._variables

    @property
    def labels(self) -> TensorTree:
        """Labels of all samples, or `None`."""
        return keras.tree.map_structure(
            lambda each: None if each is None else keras.ops.convert_to_numpy(each), self._variables[1]
        )

    @property
    def are_weighted(self) -> bool:
        """Whether there are sample weights."""
        return self._variables[2] is not None

    def num_batches(self, size: Tensor, replicas: int = 1) -> Tensor:
        """Returns the number of batches with `size` samples per replica, at least 1, possibly fractional."""
        size = tf.cast(size, tf.float32) * replicas
        return tf.maximum(tf.cast(self._num_rows(), tf.float32) / size, 1.0)

    def _num_rows(self) -> Tensor:
        """Number of samples, read from the device: a trace may be used with other data than it was created for."""
        return tf.shape(keras.tree.flatten(self._variables)[0], tf.int64)[0]

    def check_like(self, x: TensorTree, y: TensorTree) -> None:
        """Raises a `ValueError` unless tuning data have the structure and shapes of the training data."""
        for name, ours, theirs in (("x", self._variables[0], x), ("y", self._variables[1], y)):
            expected, received = _row_shapes(theirs), _row_shapes(ours)
            if expected.keys() != received.keys() or any(
                len(received[path]) != len(shape) or any(a not in (b, None) for a, b in zip(shape, received[path]))
                for path, shape in expected.items()
            ):
                raise ValueError(
                    f"Tuning data must have the structure and shapes of training data. For {name}, training data have "
                    f"{expected}. Received: tuning data with {received}"
                )

    def batch(self, number: Tensor, size: Tensor, replica: Tensor = 0, replicas: int = 1) -> tuple[Any, Any, Any]:
        """Returns a replica's part of the tuning batch `number`: `(x, y, sample_weight)`.

        A part has `size` samples, or fewer if all parts together would exceed their number.
        """
        rows = self._num_rows()
        size = tf.maximum(tf.minimum(tf.cast(size, tf.int64) * replicas, rows) // replicas, 1)
        first = (number * replicas + tf.cast(replica, tf.int64)) * size
        indices = (first + tf.range(size)) % rows
        return keras.tree.map_structure(
            lambda rows: None if rows is None else tf.gather(tf.convert_to_tensor(rows), indices), self._variables
        )


def _spec(array: np.ndarray | None) -> tuple[Shape, np.dtype] | None:
    return None if array is None else (array.shape[1:], array.dtype)


def _variable(array: np.ndarray | None) -> tf.Variable | None:
    return None if array is None else tf.Variable(array, trainable=False, shape=[None, *array.shape[1:]])


def _assign(variable: tf.Variable | None, array: np.ndarray | None) -> None:
    if variable is not None:
        variable.assign(array)


def _to_numpy(leaf: Any) -> np.ndarray | None:
    if leaf is None:
        return None
    array = np.asarray(leaf)
    return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array


def _concatenate(parts: Iterator[tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
    collected, total = [], 0
    for batch in parts:
        total += sum(leaf.nbytes for leaf in keras.tree.flatten(batch) if leaf is not None)
        if total > BYTES_LIMIT:
            raise ValueError(
                f"Tuning data are kept in memory, at most {BYTES_LIMIT / 2**20:.0f} MiB of them: pass fewer samples, "
                f"for example `dataset.take(n)` (a few thousand suffice). Received: more than {total / 2**20:.0f} MiB"
            )
        collected.append(batch)
    if not collected:
        raise ValueError("Tuning data must have samples. Received: no batch")
    return keras.tree.map_structure(lambda *leaves: None if leaves[0] is None else np.concatenate(leaves), *collected)


def _check_arrays(x: TensorTree, y: TensorTree, sample_weight: TensorTree) -> int:
    leaves = [leaf for leaf in keras.tree.flatten((x, y, sample_weight)) if leaf is not None]
    lengths = [len(leaf) for leaf in leaves]
    if min(lengths) < 1 or len(set(lengths)) > 1:
        raise ValueError(f"Tuning arrays must have equal lengths of at least 1. Received: lengths {lengths}")
    for name, part in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        for leaf in keras.tree.flatten(part):
            if leaf is not None and leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
                bad = int((~np.isfinite(leaf)).sum())
                raise ValueError(f"Tuning data must be finite. Received: {bad} NaN or infinite values in {name}")
    weights = [leaf for leaf in keras.tree.flatten(sample_weight) if leaf is not None]
    if any(leaf.min() < 0 for leaf in weights) or (weights and not any(leaf.any() for leaf in weights)):
        raise ValueError(
            "Sample weights of tuning data must be at least 0, and not all 0. "
            f"Received: sample_weight from {min(map(np.min, weights))} to {max(map(np.max, weights))}"
        )
    return lengths[0]


def _weigh_classes(y: TensorTree, sample_weight: TensorTree, class_weight: dict[int, float]) -> np.ndarray:
    if not isinstance(y, np.ndarray):
        raise ValueError(f"`class_weight` requires a single output. Received: y of type {type(y).__name__}")
    classes = y.argmax(-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y)).astype(int)
    weights = np.array([class_weight.get(int(label), 1.0) for label in classes], keras.config.floatx())
    return weights if sample_weight is None else weights * sample_weight


def _row_shapes(structure: TensorTree) -> dict[str, Shape]:
    """Returns the shape of one sample by path."""
    return {
        "/".join(map(str, path)) or "rows": tuple(leaf.shape[1:])
        for path, leaf in keras.tree.flatten_with_path(structure)
        if leaf is not None
    }
