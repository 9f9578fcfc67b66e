"""The member axis of rows: the only place that knows their order, which is member-major.

Rows `[M*B, ...]` hold member 0's B rows first, then member 1's, and so on.
"""

from typing import Any

from keras import ops

from keras_hyperens.types import Tensor


def tile_members(batch: Tensor, ensemble_size: int) -> Tensor:
    """Every member gets the whole batch: `[B, ...]` to rows `[M*B, ...]`."""
    return ops.concatenate([batch] * ensemble_size)  # `ops.tile` loses static shapes before Keras 3.13


def split_members(rows: Tensor, ensemble_size: int, batch_size: Any = -1) -> Tensor:
    """Rows `[M*B, ...]` to `[M, B, ...]`.

    Raises:
        ValueError: If the number of rows is known and not a multiple of M, or not M times a known `batch_size`.
    """
    check_rows(rows.shape[0], ensemble_size)
    known = isinstance(batch_size, int) and batch_size >= 0 and rows.shape[0] is not None
    if known and rows.shape[0] != ensemble_size * batch_size:
        raise ValueError(
            f"A network must give one row of output for each row of input, {ensemble_size * batch_size} here. "
            f"Received: {rows.shape[0]} rows of output"
        )
    return ops.reshape(rows, (ensemble_size, batch_size) + tuple(ops.shape(rows)[1:]))


def join_members(members: Tensor) -> Tensor:
    """`[M, B, ...]` to rows `[M*B, ...]`."""
    return ops.reshape(members, (-1,) + tuple(ops.shape(members)[2:]))


def check_rows(rows: int | None, ensemble_size: int) -> None:
    """Raises a `ValueError` if a known number of rows cannot be that of M members."""
    if rows is not None and rows % ensemble_size:
        raise ValueError(
            f"A hyper-batch layer of {ensemble_size} members takes rows [M*B, ...], each member's B rows in turn; "
            f"wrap the network in `HyperBatchEnsemble`, which tiles plain batches. Received: {rows} rows"
        )
