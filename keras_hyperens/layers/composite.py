"""Counterparts of Keras layers with several kernels, composed of one layer per kernel."""

from typing import Any

import keras

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.layers.weights import check_sharing
from keras_hyperens.layers.weights import options_of
from keras_hyperens.types import Tensor


class HyperBatchComposite(HyperLayer):
    """Composition of several hyper-batch layers that replaces one Keras layer. Abstract.

    A subclass creates the parts in `_make_parts`; their weights, in that order, are those of the plain layer.

    Args:
        *arguments: As in the plain Keras layer.
        **keywords: Settings, options of `HyperBatchLayer` (for every part), and arguments of `HyperLayer` and of
            the plain Keras layer.
    """

    has_kernels = True
    _also_takes = (HyperBatchLayer,)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._options, keywords = options_of(keywords)
        super().__init__(*arguments, **keywords)
        # Immediately, unless the parts depend on input shapes.
        check_sharing(self._options.get("sharing", "hyper"), self._options.get("same_initialization", False))
        self.parts: list[HyperBatchLayer] = []
        self._make_parts()

    def _make_parts(self) -> None:
        """Creates the parts with `_part`."""
        raise NotImplementedError

    def _part(self, layer_type: type[HyperBatchLayer], roles: dict[str, str], **arguments: Any) -> HyperLayer:
        """Creates a part.

        Args:
            layer_type: Class of the part.
            roles: Penalties of the part: its role to the role (or roles) of this layer.
            **arguments: Arguments of its plain layer.
        """
        strengths = {
            f"{role}_{norm}": getattr(self, f"{mine}_{norm}") for role, mine in roles.items() for norm in ("l1", "l2")
        }
        part = layer_type(
            **arguments,
            **strengths,
            **self._options,
            ensemble_size=self.ensemble_size,
            space=self.space,
            dtype=self.dtype_policy,
        )
        part.supports_masking = True  # this layer handles masks
        self.parts.append(part)
        return part

    def adopt(self, weights: list[Any]) -> None:
        rest = list(weights)
        for part in self.parts:
            number = 2 if part.use_bias else 1
            part.adopt(rest[:number])
            rest = rest[number:]

    def member_weights(self, member: int, values: Tensor) -> list[Any]:
        return [weight for part in self.parts for weight in part.member_weights(member, values)]

    def get_config(self) -> dict[str, Any]:
        options = {
            name: keras.initializers.serialize(option) if isinstance(option, keras.initializers.Initializer) else option
            for name, option in self._options.items()
        }
        return {**super().get_config(), **options}
