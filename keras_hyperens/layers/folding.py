"""Kernels folded beforehand: what an export stores, so that no call has to build them."""

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_stored: ContextVar[Mapping[Any, tuple[Any, Any]]] = ContextVar("keras_hyperens_folded", default={})  # noqa: B039


@contextmanager
def stored_weights(weights: Mapping[Any, tuple[Any, Any]]) -> Iterator[None]:
    """Layers in `weights` use these kernels `[M, ..., A, U]` and biases `[M, U]` (or `None`) inside."""
    token = _stored.set(weights)
    try:
        yield
    finally:
        _stored.reset(token)


def stored_weights_of(layer: Any) -> tuple[Any, Any] | None:
    """The kernels and biases stored for a layer, or `None`."""
    return _stored.get().get(layer)
