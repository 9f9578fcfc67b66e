"""Fingerprints of data, cheap enough for every call: shapes, sums, and some thousand elements at fixed places."""

import hashlib
from typing import Any

import keras
import numpy as np

PLACES = 4096  # elements of an array that are read one by one


def digest_of(data: Any) -> str:
    """A fingerprint of what `fit` takes as data: equal data have equal ones, on every machine.

    Of arrays it is of their values; of a `tf.data.Dataset` or a `keras.utils.PyDataset`, which may shuffle, of the
    number and the shapes of batches; of a generator of its type alone.
    """
    return hashlib.sha256(repr(_described(data)).encode()).hexdigest()[:16]


class BatchesDigest:
    """A fingerprint of the inputs of all batches, the same however rows are put into batches."""

    def __init__(self) -> None:
        self.totals: dict[Any, int] = {}

    def add(self, x: Any) -> None:
        """Takes in the inputs of a batch."""
        for path, leaf in keras.tree.flatten_with_path(x):
            array = _array(leaf)
            key = (path, type(leaf).__name__) if array is None else (path, array.ndim, str(array.dtype))
            total = 0 if array is None else _bits(array) or 0
            self.totals[key] = (self.totals.get(key, 0) + total) % 2**64

    def hexdigest(self) -> str:
        return hashlib.sha256(repr(sorted(self.totals.items(), key=repr)).encode()).hexdigest()[:16]


def _described(data: Any) -> Any:
    if isinstance(data, tuple) and has_dataset(data):
        return [_described(part) for part in data]
    if hasattr(data, "element_spec"):
        return str(data.element_spec), int(data.cardinality()) if hasattr(data, "cardinality") else None
    if isinstance(data, keras.utils.PyDataset):
        return type(data).__name__, data.num_batches
    return [(path, _of_leaf(leaf)) for path, leaf in keras.tree.flatten_with_path(data)]


def has_dataset(data: tuple[Any, ...]) -> bool:
    """Whether a part of it is a dataset, of whose values `digest_of` knows nothing."""
    return any(map(_is_dataset, data))


def _is_dataset(data: Any) -> bool:
    return hasattr(data, "element_spec") or isinstance(data, keras.utils.PyDataset)


def _of_leaf(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, str | bool | int | float):
        return leaf
    array = _array(leaf)
    return type(leaf).__name__ if array is None else (array.shape, str(array.dtype), _of_values(array))


def _array(leaf: Any) -> np.ndarray | None:
    """An array, tensor or table as NumPy; `None` for what is none, or is ragged or sparse."""
    try:
        return np.asarray(leaf) if hasattr(leaf, "shape") else None
    except (TypeError, ValueError):
        return None


def _bits(array: np.ndarray) -> int | None:
    """The sum of bit patterns, the same in every order; `None` if there are no numbers."""
    size = array.dtype.itemsize
    return int(array.view(f"u{size}").sum(dtype="uint64")) if size in (1, 2, 4, 8) and array.dtype.kind != "O" else None


def _of_values(array: np.ndarray) -> Any:
    if not array.size:
        return None
    places = np.unravel_index(np.linspace(0, array.size - 1, PLACES).astype("int64"), array.shape)
    some = array[places]
    if array.dtype.kind == "O":
        return hashlib.sha256(repr(some.tolist()).encode()).hexdigest()
    return hashlib.sha256(some.tobytes()).hexdigest(), _bits(array)
