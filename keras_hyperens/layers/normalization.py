"""Normalization layers with per-member statistics and parameters, an option; by default members share the layer."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.folding import the_one_member
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


class MemberNormalization(HyperLayer):
    """One plain normalization layer per member, applied to the samples of that member. Abstract.

    Args:
        *arguments, **keywords: As in the plain Keras layer; `ensemble_size` of `HyperLayer`. There are no settings for
            hyperparameters.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        config = {**self.plain.get_config(), "dtype": self.dtype_policy}
        self.parts = [
            self.plain_layer(**{**config, "name": f"member_{number}"}) for number in range(self.ensemble_size)
        ]
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        for part in self.parts:
            part.build(input_shape)
        self.built = True

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        stored = the_one_member()
        if stored is not None:
            return self.parts[stored.member](inputs, **self._arguments(training, mask, 0))
        members = ops.unstack(split_members(inputs, self.ensemble_size))
        extra = [self._arguments(training, mask, k) for k in range(self.ensemble_size)]
        return join_members(ops.stack([part(members[k], **extra[k]) for k, part in enumerate(self.parts)]))

    def _arguments(self, training: bool | None, mask: Tensor, member: int) -> dict[str, Any]:
        return {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def adopt(self, weights: list[Any]) -> None:
        for part in self.parts:
            part.set_weights(weights)

    def adopt_each(self, weights: list[list[Any]]) -> None:
        for part, own in zip(self.parts, weights, strict=True):
            part.set_weights(own)

    def member_layer(self, values: dict[str, float]) -> keras.layers.Layer:
        return self.plain_layer.from_config({**self.plain.get_config(), "name": self.name})

    def member_weights(self, member: int, values: Tensor) -> list[Any]:
        return self.parts[member].get_weights()


@keras.saving.register_keras_serializable("keras_hyperens")
class MemberBatchNormalization(MemberNormalization):
    """Batch normalization with per-member statistics, scale and shift.

    Args:
        *arguments, **keywords: As in `keras.layers.BatchNormalization`; `ensemble_size`: M.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.MemberBatchNormalization(ensemble_size=2)
    >>> outputs = np.asarray(layer(np.array([[1.0], [3.0], [10.0], [30.0]], "float32"), training=True))
    >>> outputs.round(2).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """

    plain_layer = keras.layers.BatchNormalization

    def _arguments(self, training: bool | None, mask: Tensor, member: int) -> dict[str, Any]:
        if mask is None:
            return {"training": training}
        return {"training": training, "mask": split_members(mask, self._num_members)[member]}


@keras.saving.register_keras_serializable("keras_hyperens")
class MemberLayerNormalization(MemberNormalization):
    """Layer normalization with per-member scale and shift.

    Args:
        *arguments, **keywords: As in `keras.layers.LayerNormalization`; `ensemble_size`: M.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.MemberLayerNormalization(ensemble_size=2)
    >>> layer(np.ones((2 * 3, 5), "float32")).shape
    TensorShape([6, 5])
    """

    plain_layer = keras.layers.LayerNormalization


@keras.saving.register_keras_serializable("keras_hyperens")
class MemberGroupNormalization(MemberNormalization):
    """Group normalization with per-member scale and shift.

    Args:
        *arguments, **keywords: As in `keras.layers.GroupNormalization`; `ensemble_size`: M.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.MemberGroupNormalization(groups=2, ensemble_size=2)
    >>> layer(np.ones((2 * 3, 4, 6), "float32")).shape
    TensorShape([6, 4, 6])
    """

    plain_layer = keras.layers.GroupNormalization


@keras.saving.register_keras_serializable("keras_hyperens")
class MemberRMSNormalization(MemberNormalization):
    """RMS normalization with a per-member scale.

    Args:
        *arguments, **keywords: As in `keras.layers.RMSNormalization`; `ensemble_size`: M.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.MemberRMSNormalization(ensemble_size=2)
    >>> layer(np.ones((2 * 3, 5), "float32")).shape
    TensorShape([6, 5])
    """

    plain_layer = keras.layers.RMSNormalization
