"""Fingerprints of a model and of what it was compiled with: equal ones if a search may go on with it."""

import hashlib
import json
from typing import Any

import keras
import numpy as np

from keras_hyperens.conversion.compiled import compile_arguments_of
from keras_hyperens.search.digests import digest_of

COMPILED = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")  # the other arguments change no result


def model_digests(model: keras.Model) -> dict[str, str]:
    """Fingerprints of the architecture, and of each argument of `compile`.

    Names of layers do not count, because Keras numbers them through a process.
    """
    arguments = compile_arguments_of(model)
    parts = {"model": _config_of(model), **{name: arguments.get(name) for name in COMPILED}}
    return {name: _digest(part) for name, part in parts.items()}


def _config_of(model: keras.Model) -> Any:
    try:
        config = model.get_config()
    except Exception:  # a class without a configuration is known by its name and weights alone
        config = {}
    weights = [(tuple(weight.shape), str(weight.dtype)) for weight in model.weights]
    return type(model).__name__, config, weights


def _digest(part: Any) -> str:
    text = json.dumps(_plain(part), sort_keys=True)
    names: dict[str, str] = {}
    _collect_names(json.loads(text), names)
    return hashlib.sha256(json.dumps(_renamed(json.loads(text), names), sort_keys=True).encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    """What JSON can say of a configuration; of what it cannot, the type."""
    if part is None or isinstance(part, str | bool | int | float):
        return part
    if isinstance(part, dict):
        return {str(key): _plain(value) for key, value in part.items() if key != "seed"}  # Keras draws some
    if isinstance(part, list | tuple | set):
        return [_plain(value) for value in part]
    if isinstance(part, np.ndarray | np.generic | keras.Variable) or keras.ops.is_tensor(part):
        return digest_of(part)
    return _plain_object(part)


def _plain_object(part: Any) -> Any:
    config = getattr(part, "get_config", None)
    try:
        own = _plain(config()) if callable(config) and not isinstance(part, type) else None
    except Exception:  # without one it is known by its class
        own = None
    name = getattr(part, "__qualname__", None) or type(part).__qualname__
    return [name, own]


def _collect_names(part: Any, names: dict[str, str]) -> None:
    """Names of layers and other objects, in the order of their first appearance."""
    if isinstance(part, dict):
        if isinstance(part.get("name"), str):
            names.setdefault(part["name"], f"name {len(names)}")
        part = [part[key] for key in sorted(part)]
    if isinstance(part, list):
        for each in part:
            _collect_names(each, names)


def _renamed(part: Any, names: dict[str, str]) -> Any:
    if isinstance(part, dict):
        is_code = part.get("class_name") == "__lambda__"  # it holds the number of its line
        return "lambda" if is_code else {key: _renamed(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_renamed(each, names) for each in part]
    return names.get(part, part) if isinstance(part, str) else part
