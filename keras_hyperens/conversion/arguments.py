"""What a layer is called with, and why it may not be looked into."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_hyperens.masks import mask_of


class InliningError(ValueError):
    """Why a layer cannot be made a graph of its sublayers."""


@dataclass(frozen=True)
class Arguments:
    """What a layer is called with: a structure of arguments, whose symbolic tensors are replaced by others.

    Attributes:
        args, kwargs: Of the call.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[Any]:
        """The symbolic tensors, in order."""
        return [each for each in keras.tree.flatten((self.args, self.kwargs)) if isinstance(each, keras.KerasTensor)]

    @property
    def masked(self) -> list[Any]:
        """Those that carry a mask."""
        return [each for each in self.tensors if mask_of(each) is not None]

    @property
    def key(self) -> str:
        """The same for calls that one graph can serve."""
        return repr(keras.tree.map_structure(_described, (self.args, self.kwargs)))

    def with_tensors(self, tensors: list[Any]) -> "Arguments":
        """The same call of other tensors."""
        rest = iter(tensors)
        swap = lambda each: next(rest) if isinstance(each, keras.KerasTensor) else each  # noqa: E731
        args, kwargs = keras.tree.map_structure(swap, (self.args, self.kwargs))
        return Arguments(tuple(args), kwargs)


def _described(each: Any) -> str:
    if isinstance(each, keras.KerasTensor):
        return f"{each.shape} {each.dtype} {mask_of(each) is not None}"
    return repr(each)
