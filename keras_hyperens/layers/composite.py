"""A Keras layer with several kernels, as a layer of ours for each of them."""

from typing import Any

import keras

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.layers.weights import check_sharing
from keras_hyperens.layers.weights import options_of
from keras_hyperens.types import Tensor


class HyperBatchComposite(HyperLayer):
    """Several hyper-batch layers that together vary one Keras layer. Abstract.

    A subclass makes its parts in `_make_parts`; the weights of all parts, in that order, are the plain layer's.

    Args:
        *arguments: As in the plain Keras layer.
        **keywords: The settings, options of `HyperBatchLayer` (for every part), and arguments of `HyperLayer` and of
            the plain Keras layer.
    """

    has_kernels = True
    _also_takes = (HyperBatchLayer,)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._options, keywords = options_of(keywords)
        super().__init__(*arguments, **keywords)
        # Now: parts may be made only when shapes are known.
        check_sharing(self._options.get("sharing", "hyper"), self._options.get("same_initialization", False))
        self.parts: list[HyperBatchLayer] = []
        self._make_parts()

    def _make_parts(self) -> None:
        """Makes the parts, by `_part`."""
        raise NotImplementedError

    def _part(self, layer_type: type[HyperBatchLayer], roles: dict[str, str], **arguments: Any) -> HyperLayer:
        """A new part.

        Args:
            layer_type: Its class.
            roles: Which strengths of this layer it has: the part's role to this layer's, or to several layers of it.
            **arguments: Of its plain layer.
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
        part.supports_masking = True  # this layer looks after masks
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
