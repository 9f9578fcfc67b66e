"""Keras masks: which positions of an output count. Operations on tensors drop the masks that the tensors carry.

Layers propagate masks, and Keras losses and metrics use them; the computations of ensembles between the two use these
functions.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


def mask_of(tensor: Tensor) -> Tensor:
    """Returns the mask of a tensor, or `None`."""
    return getattr(tensor, "_keras_mask", None)


def with_mask(tensor: Tensor, mask: Tensor) -> Tensor:
    """Attaches a mask to the tensor and returns it; unchanged for `None`."""
    if mask is not None:
        tensor._keras_mask = mask
    return tensor


def mapped(
    function: Callable[..., Any], outputs: TensorTree, *others: TensorTree, mask: Callable[[Any], Any] | None = None
) -> TensorTree:
    """`keras.tree.map_structure` that propagates the masks of the outputs.

    Args:
        function: Function of each output.
        outputs: The structure of outputs.
        *others: More structures, as in `keras.tree.map_structure`.
        mask: Function of their masks. By default masks are unchanged.
    """

    def one(output: Tensor, *rest: Any) -> Tensor:
        found = mask_of(output)
        return with_mask(function(output, *rest), found if found is None or mask is None else mask(found))

    return keras.tree.map_structure(one, outputs, *others)


def member(outputs: TensorTree, k: int) -> TensorTree:
    """Returns the outputs of member k, from those of all members `[M, B, ...]`."""
    return mapped(lambda output: output[k], outputs, mask=lambda mask: mask[k])


def of_all_members(mask: Tensor) -> Tensor:
    """Returns the positions that count for every member, `[M, B, ...]` to `[B, ...]`."""
    return ops.all(mask, axis=0)


def stacked(outputs: Sequence[Any]) -> TensorTree:
    """Returns outputs `[M, B, ...]` from one structure per member."""
    return keras.tree.map_structure(_stacked, *outputs)


def _stacked(*outputs: Tensor) -> Tensor:
    masks = [mask_of(output) for output in outputs]
    known = [mask for mask in masks if mask is not None]
    mask = ops.stack([ops.ones_like(known[0]) if mask is None else mask for mask in masks]) if known else None
    return with_mask(ops.stack(outputs), mask)
