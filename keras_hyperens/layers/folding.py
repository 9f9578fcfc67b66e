"""Precomputed (folded) kernels of an export, which need no tiled batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stored:
    """A single member, whose network is called on a plain batch.

    Attributes:
        member: Index k of the member.
        weights: The member's kernel and bias `[1, 1, U]` (or `None`), by layer.
    """

    member: int
    weights: dict[Any, tuple[Any, Any]]


_stored: ContextVar[Stored | None] = ContextVar("keras_hyperens_stored", default=None)


@contextmanager
def one_member(stored: Stored) -> Iterator[None]:
    """Context manager: inputs are `[B, ...]` for one member, and layers use its stored weights."""
    token = _stored.set(stored)
    try:
        yield
    finally:
        _stored.reset(token)


def the_one_member() -> Stored | None:
    """Returns the current single member, or `None` if inputs are those of all members."""
    return _stored.get()
