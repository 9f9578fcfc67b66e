"""Dropout at each member's own rate."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.base import Setting
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperDropout(HyperLayer):
    """Dropout in which each member, or each row, has its own rate.

    In training an element is set to 0 with probability `rate`, and divided by `1 - rate` otherwise; elsewhere the
    layer does nothing. The rate of a member reaches its predictions through the hyper-batch layers around, which
    all see the position of every hyperparameter.

    Args:
        rate: A hyperparameter's name, whose range must lie in `[0, 1)`, or a number.
        noise_shape: Shape of the mask for one row with 1 where it is shared, for example `(1, 1, channels)` for
            whole feature maps. Default: every element on its own.
        seed: Seed of the masks.
        ensemble_size: M, the number of members.
        hyperparameters: The `HyperparameterSpace`.

    Input shape:
        Rows `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `rate` names no hyperparameter, or can leave `[0, 1)`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("dropout", 0.0, 0.9, scale="linear")])
    >>> layer = khe.HyperDropout("dropout", ensemble_size=2, hyperparameters=space, seed=0)
    >>> with khe.hyperparameter_scope(np.array([[[0.0]], [[0.9]]], "float32")):
    ...     rows = layer(np.ones((2 * 1, 1000), "float32"), training=True)
    >>> int((rows[0] == 0).numpy().sum()), 850 < int((rows[1] == 0).numpy().sum()) < 950
    (0, True)
    """

    def __init__(
        self,
        rate: Setting,
        noise_shape: tuple[int, ...] | None = None,
        seed: int | None = None,
        *,
        ensemble_size: int,
        hyperparameters: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(ensemble_size=ensemble_size, hyperparameters=hyperparameters, **kwargs)
        highest = self.hyperparameters[rate].high if rate in self.hyperparameters.names else rate
        if rate is None or highest == 1:
            raise ValueError(f"`rate` must stay below 1. Received: rate={rate!r}")
        self.rate = self._check_setting("rate", rate, high=1.0)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return inputs
        members = split_members(inputs, self.ensemble_size)  # [M, B, ...]
        shape = ops.shape(members)
        mask_shape = shape if self.noise_shape is None else (*shape[:2], *self.noise_shape)
        rate = self.setting_value(self.rate)
        if isinstance(self.rate, str):  # [M, 1 or B] beside the row's axes
            rate = ops.reshape(rate, (*ops.shape(rate), *[1] * (len(shape) - 2)))
        uniform = keras.random.uniform(mask_shape, seed=self.seed_generator, dtype="float32")
        scale = ops.where(uniform >= rate, 1 / (1 - rate), 0.0)
        return join_members(members * ops.cast(scale, inputs.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def hyperparameters_used(self) -> set[str]:
        return {self.rate} if isinstance(self.rate, str) else set()

    def member_layer(self, values: dict[str, float]) -> keras.layers.Layer:
        rate = values[self.rate] if isinstance(self.rate, str) else self.rate
        noise_shape = None if self.noise_shape is None else (None, *self.noise_shape)
        return keras.layers.Dropout(rate, noise_shape=noise_shape, seed=self.seed, name=self.name)

    def member_weights(self, member: int, values: Any) -> list[Any]:
        return []

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "noise_shape": self.noise_shape, "seed": self.seed}
