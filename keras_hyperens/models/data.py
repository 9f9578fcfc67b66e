"""Data arguments of `fit`: batches of all supported types, their specification, and splits of arrays."""

import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_hyperens.types import TensorTree

Rows = tuple[Any, Any, Any]  # x, y, sample_weight
MOST_BATCHES = 100_000  # limit for data of unknown length, above which they count as infinite


def batches(data: Any, name: str) -> Iterator[tuple[Any, Any, Any]]:
    """Yields `(x, y, sample_weight)` of each batch of an argument called `name`; arrays are one batch.

    Raises:
        TypeError: If the argument does not contain batches.
        ValueError: If it is infinite.
    """
    has_end = isinstance(data, tuple | list | keras.utils.PyDataset)
    if isinstance(data, tuple | list):
        data = [(data[0], labels(data[1], f"{name}[1]"), *data[2:]) if len(data) > 1 else tuple(data)]
    elif isinstance(data, keras.utils.PyDataset):
        if data.num_batches is None:
            raise ValueError(f"`{name}` must be finite: set its number of batches. Received: an infinite `PyDataset`")
        data = map(data.__getitem__, range(data.num_batches))
    elif not isinstance(data, Iterable) or hasattr(data, "__getitem__"):
        raise TypeError(
            f"`{name}` must be `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset`, a `keras.utils.PyDataset` or "
            f"a generator of batches. Received: {name} of type {type(data).__name__}"
        )
    elif isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"`{name}` must be finite: remove `repeat()`. Received: an infinite dataset")
    has_end = has_end or (isinstance(data, tf.data.Dataset) and int(data.cardinality()) >= 0)
    for number, batch in enumerate(data):
        if number == MOST_BATCHES and not has_end:
            raise ValueError(
                f"`{name}` must be finite. Received: {type(data).__name__} with over {MOST_BATCHES} batches"
            )
        yield keras.utils.unpack_x_y_sample_weight(batch)


def labels(y: Any, name: str = "y") -> Any:
    """Returns labels unchanged, or as an array if they are a list of numbers.

    Raises:
        ValueError: If they are strings.
    """
    if isinstance(y, list | tuple) and not any(hasattr(leaf, "shape") for leaf in keras.tree.flatten(y)):
        y = np.asarray(y)
    for leaf in keras.tree.flatten(y):
        dtype = getattr(leaf, "dtype", None)
        if getattr(dtype, "kind", "") in ("U", "S") or dtype == tf.string:
            raise ValueError(f"`{name}` must be numbers: encode strings as classes 0, 1, ... Received: dtype={dtype}")
    return y


class BatchSpecs(NamedTuple):
    """Specification of batches: structures of `tf.TensorSpec` with an unknown batch size; `None` if unknown."""

    x: Any = None
    y: Any = None
    sample_weight: Any = None
    size: int | None = None  # the expected batch size

    def describe_batches(self, exactly: bool = False) -> bool:
        """Whether batches are known before training, with all axes if `exactly`."""
        if self.x is None or not exactly:
            return self.x is not None
        leaves = [spec for spec in keras.tree.flatten((self.x, self.y, self.sample_weight)) if spec is not None]
        return self.size is not None and all(None not in spec.shape[1:] for spec in leaves)


def batch_specs(
    x: Any, y: Any, batch_size: int | None = None, sample_weight: Any = None, class_weight: Any = None
) -> tuple[BatchSpecs, Any]:
    """Returns the specification of a batch, and `x` (a generator with its first batch); arguments as in `fit`."""
    specs, x = _batch_specs(x, y, batch_size, sample_weight)
    if class_weight is not None and specs.sample_weight is None and specs.x is not None:
        specs = specs._replace(sample_weight=tf.TensorSpec([None], keras.config.floatx()))
    return specs, x


def _batch_specs(x: Any, y: Any, batch_size: int | None, sample_weight: Any) -> tuple[BatchSpecs, Any]:
    if isinstance(x, Iterator):
        first = next(x, None)
        if first is None:
            raise ValueError("A generator of training data must yield batches. Received: an exhausted generator")
        return _specs(first), _restarted(first, x)
    if isinstance(x, keras.utils.PyDataset):
        return _specs(x[0]), x
    if hasattr(x, "element_spec"):  # tf.data, including distributed datasets
        return _specs(x.element_spec), x
    arrays = (x, y, sample_weight)
    if all(leaf is None or (hasattr(leaf, "shape") and _dtype(leaf)) for leaf in keras.tree.flatten(arrays)):
        specs = _specs(arrays)
        return specs._replace(size=min(specs.size or 1, batch_size or 32)), x  # the Keras default is 32
    return BatchSpecs(), x


def rows_and_labels(x: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """Returns all inputs, labels and weights (or `None`) as arrays (strings as tensors), from arrays or batches.

    Raises:
        ValueError: If there are no labels, or labels or weights are passed in addition to those of batches.
    """
    has_labels = isinstance(x, tf.data.Dataset | keras.utils.PyDataset)
    if has_labels and y is not None or sample_weight is not None and (has_labels or y is None):
        given = [name for name, value in (("y", y), ("sample_weight", sample_weight)) if value is not None]
        raise ValueError(
            "Pass labels and weights as arrays `y` and `sample_weight`, or both in the batches of `x`. "
            f"Received: x of type {type(x).__name__} with {' and '.join(given)}"
        )
    if y is None:
        parts = [batch for batch in batches(x, "x") if batch[1] is not None]
        if not parts:
            raise ValueError("Labels are required: pass `y`, or batches of `(x, y)`. Received: y=None")
        x, y, sample_weight = keras.tree.map_structure(_concatenated, *parts)
    return x, labels(y), sample_weight


def split_rows(x: Any, y: Any, sample_weight: Any, fraction: float, name: str = "tuning_split") -> tuple[Rows, Rows]:
    """Splits off the last `fraction` of the samples, like Keras' `validation_split`.

    Raises:
        ValueError: If the fraction (an argument called `name`) is not in (0, 1), a part would be empty, or the data are
            not arrays.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`{name}` must be between 0 and 1. Received: {name}={fraction}")
    leaves = [leaf for leaf in keras.tree.flatten((x, y, sample_weight)) if leaf is not None]
    if y is None or not all(hasattr(leaf, "shape") for leaf in leaves):
        raise ValueError(
            f"`{name}` requires `x` and `y` as arrays; pass other data as `{name.replace('split', 'data')}`. "
            f"Received: x of type {type(x).__name__}, y of type {type(y).__name__}"
        )
    rows = int(leaves[0].shape[0])
    first = rows - int(rows * fraction)
    if first in (0, rows):
        raise ValueError(f"`{name}` leaves no samples. Received: {name}={fraction} of {rows} samples")

    def part(window: slice) -> Rows:
        return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[window], (x, y, sample_weight))

    return part(slice(0, first)), part(slice(first, None))


def _concatenated(*leaves: Any) -> Any:
    if leaves[0] is None:
        return None
    joined = np.concatenate(leaves)
    return tf.constant(joined) if joined.dtype == object else joined  # Keras takes strings as tensors alone


def _restarted(first: TensorTree, rest: Iterator[Any]) -> Iterator[Any]:
    yield from itertools.chain([first], rest)


def _specs(batch: TensorTree) -> BatchSpecs:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    size = keras.tree.flatten(x)[0].shape[0]
    x, y, sample_weight = (keras.tree.map_structure(_spec, part) for part in (x, y, sample_weight))
    return BatchSpecs(x, y, sample_weight, size)


def _spec(leaf: Any) -> tf.TensorSpec | None:
    if leaf is None:
        return None
    dtype: Any = _dtype(leaf)
    columns = (1,) if hasattr(leaf, "to_frame") else leaf.shape[1:]  # Keras converts a pandas series to a column
    return tf.TensorSpec([None, *columns], keras.config.floatx() if dtype.is_floating else dtype)


def _dtype(leaf: Any) -> tf.DType | None:
    """Returns the dtype of an array, a tensor, or a numeric table; `None` if TensorFlow does not support it."""
    try:
        return tf.as_dtype(getattr(leaf, "dtype", None) or np.result_type(*leaf.dtypes))
    except (AttributeError, TypeError, ValueError):
        return None
