"""Keras' masks: which positions of an output count. Tensors carry them; what is computed of a tensor loses them.

Layers hand masks on by themselves, and Keras' losses and metrics look for them; what ensembles compute between the two
goes through these functions.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


def mask_of(tensor: Tensor) -> Tensor:
    """The mask of a tensor, or `None`."""
    return getattr(tensor, "_keras_mask", None)


def with_mask(tensor: Tensor, mask: Tensor) -> Tensor:
    """The tensor, which from now on carries the mask; as it is for `None`."""
    if mask is not None:
        tensor._keras_mask = mask
    return tensor


def mapped(
    function: Callable[..., Any], outputs: TensorTree, *others: TensorTree, mask: Callable[[Any], Any] | None = None
) -> TensorTree:
    """`keras.tree.map_structure`, where results carry the masks of the outputs.

    Args:
        function: What is done with each output.
        outputs: The structure of outputs.
        *others: More structures, as in `keras.tree.map_structure`.
        mask: What is done with their masks. Default: they stay as they are.
    """

    def one(output: Tensor, *rest: Any) -> Tensor:
        found = mask_of(output)
        return with_mask(function(output, *rest), found if found is None or mask is None else mask(found))

    return keras.tree.map_structure(one, outputs, *others)


def member(outputs: TensorTree, k: int) -> TensorTree:
    """Outputs of member k, from those of all members `[M, B, ...]`."""
    return mapped(lambda output: output[k], outputs, mask=lambda mask: mask[k])


def of_all_members(mask: Tensor) -> Tensor:
    """Positions that count for every member, `[M, B, ...]` to `[B, ...]`."""
    return ops.all(mask, axis=0)


def stacked(outputs: Sequence[Any]) -> TensorTree:
    """Outputs `[M, B, ...]` from one structure for each member."""
    return keras.tree.map_structure(_stacked, *outputs)


def _stacked(*outputs: Tensor) -> Tensor:
    masks = [mask_of(output) for output in outputs]
    known = [mask for mask in masks if mask is not None]
    mask = ops.stack([ops.ones_like(known[0]) if mask is None else mask for mask in masks]) if known else None
    return with_mask(ops.stack(outputs), mask)
