"""Fingerprints of data, models and compile arguments, which must be equal when a search resumes.

Fingerprints of data are cheap enough for every call: shapes, sums, and a few thousand elements at fixed positions.
"""

import hashlib
import json
from typing import Any

import keras
import numpy as np

from keras_hyperens.conversion.compiled import compile_arguments_of

PLACES = 4096  # number of elements of an array that are hashed
COMPILED = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")  # arguments that affect results


def digest_of(data: Any) -> str:
    """Returns a fingerprint of data as in `fit`, equal on every machine for equal data.

    For arrays it depends on the values; for a `tf.data.Dataset` or a `keras.utils.PyDataset`, which may shuffle, on the
    number and shapes of batches; for a generator only on its type.
    """
    return hashlib.sha256(repr(_described(data)).encode()).hexdigest()[:16]


class BatchesDigest:
    """Fingerprint of the inputs of all batches, independent of the batch size."""

    def __init__(self) -> None:
        self.totals: dict[Any, int] = {}

    def add(self, x: Any) -> None:
        """Adds the inputs of a batch."""
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
    """Whether a part of the data is a dataset, whose values `digest_of` does not include."""
    return any(map(_is_dataset, data))


def _is_dataset(data: Any) -> bool:
    return hasattr(data, "element_spec") or isinstance(data, keras.utils.PyDataset)


def _of_leaf(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, str | bool | int | float):
        return leaf
    array = _array(leaf)
    return type(leaf).__name__ if array is None else (array.shape, str(array.dtype), _of_values(array))


def _array(leaf: Any) -> np.ndarray | None:
    """Returns an array, tensor or table as NumPy; `None` for other, ragged or sparse values."""
    try:
        return np.asarray(leaf) if hasattr(leaf, "shape") else None
    except (TypeError, ValueError):
        return None


def _bits(array: np.ndarray) -> int | None:
    """Returns the sum of bit patterns, independent of the order; `None` without numbers."""
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


def model_digests(model: keras.Model) -> dict[str, str]:
    """Returns fingerprints of the architecture, and of each argument of `compile`.

    Layer names are excluded, because Keras numbers them consecutively.
    """
    arguments = compile_arguments_of(model)
    parts = {"model": _config_of(model), **{name: arguments.get(name) for name in COMPILED}}
    return {name: _digest(part) for name, part in parts.items()}


def _config_of(model: keras.Model) -> Any:
    try:
        config = model.get_config()
    except Exception:  # a class without a configuration is identified by its name and weights
        config = {}
    weights = [(tuple(weight.shape), str(weight.dtype)) for weight in model.weights]
    return type(model).__name__, config, weights


def _digest(part: Any) -> str:
    text = json.dumps(_plain(part), sort_keys=True)
    names: dict[str, str] = {}
    _collect_names(json.loads(text), names)
    return hashlib.sha256(json.dumps(_renamed(json.loads(text), names), sort_keys=True).encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    """Returns the JSON content of a configuration, with types for other objects."""
    if part is None or isinstance(part, str | bool | int | float):
        return part
    if isinstance(part, dict):
        return {str(key): _plain(value) for key, value in part.items() if key != "seed"}  # some are drawn by Keras
    if isinstance(part, list | tuple | set):
        return [_plain(value) for value in part]
    if isinstance(part, np.ndarray | np.generic | keras.Variable) or keras.ops.is_tensor(part):
        return digest_of(part)
    return _plain_object(part)


def _plain_object(part: Any) -> Any:
    config = getattr(part, "get_config", None)
    try:
        own = _plain(config()) if callable(config) and not isinstance(part, type) else None
    except Exception:  # identified by its class
        own = None
    name = getattr(part, "__qualname__", None) or type(part).__qualname__
    return [name, own]


def _collect_names(part: Any, names: dict[str, str]) -> None:
    """Collects the names of layers and other objects, in the order of their first appearance."""
    if isinstance(part, dict):
        if isinstance(part.get("name"), str):
            names.setdefault(part["name"], f"name {len(names)}")
        part = [part[key] for key in sorted(part)]
    if isinstance(part, list):
        for each in part:
            _collect_names(each, names)


def _renamed(part: Any, names: dict[str, str]) -> Any:
    if isinstance(part, dict):
        is_code = part.get("class_name") == "__lambda__"  # contains its line number
        return "lambda" if is_code else {key: _renamed(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_renamed(each, names) for each in part]
    return names.get(part, part) if isinstance(part, str) else part
