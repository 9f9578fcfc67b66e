"""Scopes through which a model passes the current hyperparameter values to layers and losses.

A context variable replaces an argument, because wrappers, nested models and cast models do not pass arguments on, and
mixed precision would round an L2 coefficient of 1e-8 to zero.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from keras_hyperens.types import Tensor

_current: ContextVar[Any] = ContextVar("keras_hyperens_hyperparameters", default=None)
_centers: ContextVar[Any] = ContextVar("keras_hyperens_centers", default=None)
_member: ContextVar[Mapping[str, Any] | None] = ContextVar("keras_hyperens_member", default=None)


@contextmanager
def hyperparameter_scope(values: Tensor, centers: Tensor | None = None) -> Iterator[None]:
    """Context manager: hyper-batch layers called inside use these hyperparameter values.

    Args:
        values: `[M, 1, P]` (one draw per member) or `[M, B, P]` (one per sample), natural scale, float32.
        centers: Values with a zero response, `[M, 1, P]`, natural scale. Defaults to the middle of every range.

    Raises:
        ValueError: If `values` or `centers` do not have three axes.

    Example:
    >>> import numpy as np
    >>> with hyperparameter_scope(np.full((4, 1, 1), 1e-4, "float32")):
    ...     current_hyperparameters().shape
    (4, 1, 1)
    """
    shape = getattr(values, "shape", None)
    if shape is None or len(shape) != 3:
        raise ValueError(f"`values` must be an array [members, 1 or batch, hyperparameters]. Received: shape={shape}")
    shape = getattr(centers, "shape", None)
    if centers is not None and (shape is None or len(shape) != 3):
        raise ValueError(f"`centers` must be an array [members, 1, hyperparameters]. Received: shape={shape}")
    tokens = _current.set(values), _centers.set(centers)
    try:
        yield
    finally:
        _current.reset(tokens[0])
        _centers.reset(tokens[1])


def current_hyperparameters() -> Tensor:
    """Returns the values of the innermost scope, `[M, 1 or B, P]`, or `None` outside of any scope."""
    return _current.get()


def current_centers() -> Tensor:
    """Returns the centers of the innermost scope, `[M, 1, P]`, or `None` (the middle of every range)."""
    return _centers.get()


@contextmanager
def member_scope(values: Mapping[str, Any]) -> Iterator[None]:
    """Context manager: losses called inside are training losses of one member with these values, `[1 or B]` by name."""
    token = _member.set(values)
    try:
        yield
    finally:
        _member.reset(token)


def current_member() -> Mapping[str, Any] | None:
    """Returns the values of the member whose training loss is computed, or `None`."""
    return _member.get()
