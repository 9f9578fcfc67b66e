"""Arguments of a layer call, and the error for layers that cannot be converted to a graph."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import keras
import numpy as np

from keras_hyperens.masks import mask_of


class InliningError(ValueError):
    """Reason why a layer cannot be converted to a graph of its sublayers."""


@dataclass(frozen=True)
class Arguments:
    """Structure of the arguments of a layer call, whose symbolic tensors can be replaced.

    Attributes:
        args, kwargs: Arguments of the call.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[Any]:
        """The symbolic tensors, in order."""
        return [each for each in keras.tree.flatten((self.args, self.kwargs)) if isinstance(each, keras.KerasTensor)]

    @property
    def masked(self) -> list[Any]:
        """The symbolic tensors with a mask."""
        return [each for each in self.tensors if mask_of(each) is not None]

    @property
    def key(self) -> str:
        """Key that is equal for calls with a common graph."""
        return repr(keras.tree.map_structure(_described, (self.args, self.kwargs)))

    def with_tensors(self, tensors: list[Any]) -> "Arguments":
        """Returns the same call with other tensors."""
        rest = iter(tensors)
        swap = lambda each: next(rest) if isinstance(each, keras.KerasTensor) else each  # noqa: E731
        args, kwargs = keras.tree.map_structure(swap, (self.args, self.kwargs))
        return Arguments(tuple(args), kwargs)


def _described(each: Any) -> str:
    if isinstance(each, keras.KerasTensor):
        return f"{each.shape} {each.dtype} {mask_of(each) is not None}"
    if hasattr(each, "__array__"):  # a text of a large array is not complete
        array = np.asarray(each)
        return f"{array.shape} {array.dtype} {sha256(array.tobytes()).hexdigest()}"
    return repr(each)
