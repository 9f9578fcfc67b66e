"""The member axis of a tiled batch. Only this module defines the order, which is member-major.

Inputs `[M*B, ...]` have the B samples of member 0 first, then those of member 1, and so on.
"""

from typing import Any

from keras import ops

from keras_hyperens.types import Tensor


def tile_members(batch: Tensor, ensemble_size: int) -> Tensor:
    """Repeats the batch for every member: `[B, ...]` to `[M*B, ...]`."""
    return ops.concatenate([batch] * ensemble_size)  # `ops.tile` loses static shapes before Keras 3.13


def split_members(rows: Tensor, ensemble_size: int, batch_size: Any = -1) -> Tensor:
    """Reshapes `[M*B, ...]` to `[M, B, ...]`.

    Raises:
        ValueError: If the size of the first axis is known and not a multiple of M, or not M times a known `batch_size`.
    """
    check_rows(rows.shape[0], ensemble_size)
    known = isinstance(batch_size, int) and batch_size >= 0 and rows.shape[0] is not None
    if known and rows.shape[0] != ensemble_size * batch_size:
        raise ValueError(
            f"A network must return one output per input sample, {ensemble_size * batch_size} here. "
            f"Received: {rows.shape[0]} outputs"
        )
    return ops.reshape(rows, (ensemble_size, batch_size) + tuple(ops.shape(rows)[1:]))


def join_members(members: Tensor) -> Tensor:
    """Reshapes `[M, B, ...]` to `[M*B, ...]`."""
    return ops.reshape(members, (-1,) + tuple(ops.shape(members)[2:]))


def check_rows(rows: int | None, ensemble_size: int) -> None:
    """Raises a `ValueError` if a known size of the first axis is not a multiple of M."""
    if rows is not None and rows % ensemble_size:
        raise ValueError(
            f"A hyper-batch layer of {ensemble_size} members takes inputs [M*B, ...], member by member; "
            f"wrap the network in `HyperBatchEnsemble`, which tiles plain batches. Received: {rows} samples"
        )
