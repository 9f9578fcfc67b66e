"""What a batch looks like, for every kind of data that `fit` takes, before the first step."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf


def batch_specs(x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Specifications of one batch's inputs and labels, and `x` again (a generator gets its first batch back).

    Returns:
        `(input specs, label specs, x)`: structures of `tf.TensorSpec` with an unknown number of rows, `None` where
        nothing is known.
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
        return *_specs((x, y)), x
    return None, None, x


def _restarted(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield from itertools.chain([first], rest)


def _specs(batch: Any) -> tuple[Any, Any]:
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return keras.tree.map_structure(_spec, x), keras.tree.map_structure(_spec, y)


def _spec(leaf: Any) -> tf.TensorSpec | None:
    if leaf is None:
        return None
    dtype = tf.as_dtype(leaf.dtype)
    return tf.TensorSpec([None, *leaf.shape[1:]], keras.config.floatx() if dtype.is_floating else dtype)
