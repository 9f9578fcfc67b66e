"""The two losses of an ensemble, from the loss of one prediction."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import keras

from keras_hyperens import masks
from keras_hyperens.hyperparameters.scope import member_scope
from keras_hyperens.likelihoods import combined_raw
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


def member_loss(
    loss: Callable[[Any, int], Any], members: TensorTree, values: Sequence[Mapping[str, Any]] | None = None
) -> Tensor:
    """The mean over members of each member's own loss (the Gibbs loss).

    One call per member: a call on all rows at once is wrong for `reduction="sum"` and for losses that compare rows.

    Args:
        loss: One member's raw outputs `[B, ...]` (or a structure of them) and its number k to a scalar.
        members: Raw outputs `[M, B, ...]` (or a structure of them).
        values: In training, each member's hyperparameter values by name, `[1 or B]`, for losses that vary with them.
    """
    each = member_losses(loss, members, values)
    return sum(each) / len(each)


def member_losses(
    loss: Callable[[Any, int], Any], members: TensorTree, values: Sequence[Mapping[str, Any]] | None = None
) -> list[Any]:
    """Each member's own loss; arguments as in `member_loss`."""

    def of_member(k: int) -> Tensor:
        with nullcontext() if values is None else member_scope(values[k]):
            return loss(masks.member(members, k), k)

    return [of_member(k) for k in range(keras.tree.flatten(members)[0].shape[0])]


def ensemble_loss(loss: Callable[[Any], Any], members: TensorTree, likelihoods: LikelihoodTree) -> Tensor:
    """The loss of the combined prediction.

    Args:
        loss: Raw outputs `[B, ...]` (or a structure of them) to a scalar.
        members: Raw outputs `[M, B, ...]` (or a structure of them).
        likelihoods: Of each output, in the structure of `members`.
    """
    return loss(combined_raw(members, likelihoods))
