"""Kernels folded beforehand: what an export stores, so that no call has to build them and no batch is tiled."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stored:
    """One member, in whose place a network is called with a plain batch.

    Attributes:
        member: k.
        weights: By layer, the member's kernel and its bias `[1, 1, U]` (or `None`).
    """

    member: int
    weights: dict[Any, tuple[Any, Any]]


_stored: ContextVar[Stored | None] = ContextVar("keras_hyperens_stored", default=None)


@contextmanager
def one_member(stored: Stored) -> Iterator[None]:
    """Rows inside are `[B, ...]`, those of one member, and layers use the weights stored for it."""
    token = _stored.set(stored)
    try:
        yield
    finally:
        _stored.reset(token)


def the_one_member() -> Stored | None:
    """The member whose rows these are, or `None`: they are those of all members."""
    return _stored.get()
