"""Batches of every kind of data that `fit` takes: one after the other, and what one looks like."""

import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def batches(data: Any, name: str) -> Iterator[tuple[Any, Any, Any]]:
    """`(x, y, sample_weight)` of each batch of an argument called `name`; arrays are one batch.

    Raises:
        TypeError: If there are no batches in it.
        ValueError: If it has no end.
    """
    if isinstance(data, tuple | list):
        data = [tuple(data)]
    elif isinstance(data, keras.utils.PyDataset):
        data = map(data.__getitem__, range(len(data)))
    elif not isinstance(data, Iterable) or hasattr(data, "__getitem__"):
        raise TypeError(
            f"`{name}` must be `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset`, a `keras.utils.PyDataset` or "
            f"a generator of batches. Received: {name} of type {type(data).__name__}"
        )
    elif isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"`{name}` must end: leave `repeat()` out. Received: a dataset without end")
    yield from map(keras.utils.unpack_x_y_sample_weight, data)


def batch_specs(x: Any, y: Any, batch_size: int | None = None) -> tuple[Any, Any, int | None, Any]:
    """What a batch looks like, and `x` again (a generator gets its first batch back).

    Returns:
        `(input specs, label specs, rows, x)`: structures of `tf.TensorSpec` with an unknown number of rows, and the
        expected number of rows. `None` where nothing is known.
    """
    if isinstance(x, Iterator):
        first = next(x, None)
        if first is None:
            raise ValueError("A generator of training data must yield batches. Received: a generator that has ended")
        return *_specs(first), _restarted(first, x)
    if isinstance(x, keras.utils.PyDataset):
        return *_specs(x[0]), x
    if hasattr(x, "element_spec"):  # tf.data, also distributed
        return *_specs(x.element_spec), x
    if all(leaf is None or (hasattr(leaf, "shape") and hasattr(leaf, "dtype")) for leaf in keras.tree.flatten((x, y))):
        inputs, labels, rows = _specs((x, y))
        return inputs, labels, min(rows or 1, batch_size or 32), x  # 32 is Keras' default
    return None, None, None, x


def rows_and_labels(x: Any, y: Any) -> tuple[Any, Any]:
    """All inputs and all labels as arrays, from arrays or from batches of both.

    Raises:
        ValueError: If there are no labels.
    """
    if y is None:
        parts = [(inputs, labels) for inputs, labels, _ in batches(x, "x") if labels is not None]
        x, y = keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *parts) if parts else (None, None)
    if y is None:
        raise ValueError("Labels are needed: give `y`, or batches of `(x, y)`. Received: y=None")
    return x, y


def _restarted(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield from itertools.chain([first], rest)


def _specs(batch: Any) -> tuple[Any, Any, int | None]:
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    rows = keras.tree.flatten(x)[0].shape[0]
    return keras.tree.map_structure(_spec, x), keras.tree.map_structure(_spec, y), rows


def _spec(leaf: Any) -> tf.TensorSpec | None:
    if leaf is None:
        return None
    dtype = tf.as_dtype(leaf.dtype)
    return tf.TensorSpec([None, *leaf.shape[1:]], keras.config.floatx() if dtype.is_floating else dtype)
