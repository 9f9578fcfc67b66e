"""The two losses of an ensemble, computed from the loss of a single prediction."""

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
    """Mean of the members' losses (the Gibbs loss).

    The loss is called once per member: a single call on the tiled batch is wrong for `reduction="sum"` and for losses
    that compare samples.

    Args:
        loss: Maps raw outputs `[B, ...]` of one member (or a structure of them) and its index k to a scalar.
        members: Raw outputs `[M, B, ...]` (or a structure of them).
        values: In training, the hyperparameter values of each member by name, `[1 or B]`, for losses that depend on
            them.
    """
    each = member_losses(loss, members, values)
    return sum(each) / len(each)


def member_losses(
    loss: Callable[[Any, int], Any], members: TensorTree, values: Sequence[Mapping[str, Any]] | None = None
) -> list[Any]:
    """Losses of the members; arguments as in `member_loss`."""

    def of_member(k: int) -> Tensor:
        with nullcontext() if values is None else member_scope(values[k]):
            return loss(masks.member(members, k), k)

    return [of_member(k) for k in range(keras.tree.flatten(members)[0].shape[0])]


def ensemble_loss(loss: Callable[[Any], Any], members: TensorTree, likelihoods: LikelihoodTree) -> Tensor:
    """Loss of the combined prediction.

    Args:
        loss: Maps raw outputs `[B, ...]` (or a structure of them) to a scalar.
        members: Raw outputs `[M, B, ...]` (or a structure of them).
        likelihoods: Likelihood of each output, in the structure of `members`.
    """
    return loss(combined_raw(members, likelihoods))
