"""Noise layers with per-member levels."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.hyperparameters.driven import Driven
from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


class HyperNoise(HyperLayer):
    """Layer without weights that modifies its inputs in training, controlled by a single setting. Abstract.

    The level still affects a member's predictions, because hyper-batch layers are conditioned on the position of every
    hyperparameter.
    """

    def __init__(self, level: Any, *arguments: Any, **keywords: Any) -> None:
        (setting,) = self.settings
        super().__init__(0.0, *arguments, **{setting: level}, **keywords)
        driven = Driven.of(getattr(self, setting))
        if driven.factor is None or driven.interval(self.space)[1] == self._highest:
            raise ValueError(f"`{setting}` must be set and stay below {self._highest:g}. Received: {setting}={level!r}")
        self.seed_generator = keras.random.SeedGenerator(self.plain.seed)
        self.supports_masking = True
        self.built = True

    def _disturb(self, members: Tensor, level: Tensor) -> Tensor:
        """Modifies members' inputs `[M, B, ...]` at a level that broadcasts to them."""
        raise NotImplementedError

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        setting = getattr(self, self.settings[0])
        if not training or setting == 0:
            return inputs
        members = split_members(inputs, self.ensemble_size)  # [M, B, ...]
        level = self._setting_value(setting)
        if Driven.of(setting).name is not None:  # [M, 1 or B]
            level = ops.reshape(level, (*ops.shape(level), *[1] * (len(members.shape) - 2)))
        return join_members(self._disturb(members, level))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def adopt(self, weights: list[Any]) -> None:
        """There are no weights to copy."""

    def member_weights(self, member: int, values: Tensor) -> list[Any]:
        return []


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperGaussianNoise(HyperNoise):
    """Gaussian noise with a per-member or per-sample standard deviation.

    In training `outputs = inputs + stddev * noise` with standard normal noise. In inference the layer is the identity.

    Args:
        stddev: Name of a hyperparameter, or a number.
        seed: Seed of the noise.
        **keywords: `ensemble_size` and `space` of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `stddev` is not a known hyperparameter, or can become negative.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperGaussianNoise(0.1, ensemble_size=2, seed=0)
    >>> outputs = layer(np.zeros((2 * 1, 1000), "float32"), training=True)
    >>> bool(0.09 < np.std(outputs) < 0.11)
    True
    """

    plain_layer = keras.layers.GaussianNoise
    settings = ("stddev",)

    def __init__(self, stddev: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(stddev, *arguments, **keywords)

    def _disturb(self, members: Tensor, level: Tensor) -> Tensor:
        noise = keras.random.normal(ops.shape(members), seed=self.seed_generator, dtype="float32")
        return members + ops.cast(level * noise, members.dtype)
