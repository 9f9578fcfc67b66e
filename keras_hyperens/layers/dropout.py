"""Dropout with per-member rates: of elements, of feature maps, and multiplicative Gaussian noise."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.noise import HyperNoise
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperDropout(HyperNoise):
    """Dropout with a per-member or per-sample rate.

    In training an element is set to 0 with probability `rate`, and divided by `1 - rate` otherwise. In inference the
    layer is the identity. The rate still affects a member's predictions, because hyper-batch layers are conditioned on
    the position of every hyperparameter.

    Args:
        rate: Name of a hyperparameter with a range in `[0, 1)`, or a number.
        noise_shape: As in `keras.layers.Dropout`: the shape of the mask, with `None` for axes of the size of the input
            (always for the batch axis) and 1 for a shared mask: `(None, 1, 1, channels)` drops feature maps.
        seed: Seed of the masks.
        **keywords: `ensemble_size` and `space` of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `rate` is not a known hyperparameter, can leave `[0, 1)`, or the mask is not per sample.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("dropout", 0.0, 0.9, "linear")])
    >>> layer = khe.HyperDropout("dropout", ensemble_size=2, space=space, seed=0)
    >>> with khe.hyperparameter_scope(np.array([[[0.0]], [[0.9]]], "float32")):
    ...     outputs = layer(np.ones((2 * 1, 1000), "float32"), training=True)
    >>> int((outputs[0] == 0).numpy().sum()), 850 < int((outputs[1] == 0).numpy().sum()) < 950
    (0, True)
    """

    plain_layer: type[keras.layers.Layer] = keras.layers.Dropout
    settings = ("rate",)
    _highest = 1.0

    def __init__(self, rate: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(rate, *arguments, **keywords)
        shape = getattr(self.plain, "noise_shape", None)
        if shape is not None and shape[0] is not None:
            raise ValueError(
                "`noise_shape` must begin with None: every sample has its own mask. "
                f"Received: noise_shape={tuple(shape)}"
            )

    def _mask_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns the shape of a mask for members' inputs `[M, B, ...]` of this shape."""
        axes = self.plain.noise_shape
        if axes is None:
            return tuple(shape)
        return (*shape[:2], *(mine or length for mine, length in zip(axes[1:], shape[2:], strict=True)))

    def _disturb(self, members: Tensor, level: Tensor) -> Tensor:
        shape = self._mask_shape(ops.shape(members))
        uniform = keras.random.uniform(shape, seed=self.seed_generator, dtype="float32")
        return members * ops.cast(ops.where(uniform >= level, 1 / (1 - level), 0.0), members.dtype)


class HyperSpatialDropout(HyperDropout):
    """Dropout of feature maps. Abstract."""

    def _mask_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        members, rows, *axes = shape
        channel = 0 if getattr(self.plain, "data_format", None) == "channels_first" else len(axes) - 1
        return (members, rows, *(length if place == channel else 1 for place, length in enumerate(axes)))


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperSpatialDropout1D(HyperSpatialDropout):
    """`HyperDropout` of channels of `(M * batch_size, time, channels)`.

    Args:
        rate: Name of a hyperparameter with a range in `[0, 1)`, or a number.
        **keywords: Arguments of `keras.layers.SpatialDropout1D` and of `HyperLayer`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperSpatialDropout1D(0.5, ensemble_size=2, seed=0)
    >>> outputs = np.asarray(layer(np.ones((2 * 1, 5, 8), "float32"), training=True))
    >>> bool((outputs == outputs[:, :1]).all())
    True
    """

    plain_layer = keras.layers.SpatialDropout1D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperSpatialDropout2D(HyperSpatialDropout):
    """`HyperDropout` of feature maps of `(M * batch_size, height, width, channels)`, or channels first.

    Args:
        rate: Name of a hyperparameter with a range in `[0, 1)`, or a number.
        **keywords: Arguments of `keras.layers.SpatialDropout2D` and of `HyperLayer`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperSpatialDropout2D(0.5, ensemble_size=2, seed=0)
    >>> outputs = np.asarray(layer(np.ones((2 * 1, 5, 5, 8), "float32"), training=True))
    >>> bool((outputs == outputs[:, :1, :1]).all())
    True
    """

    plain_layer = keras.layers.SpatialDropout2D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperSpatialDropout3D(HyperSpatialDropout):
    """`HyperDropout` of feature maps of `(M * batch_size, depth, height, width, channels)`, or channels first.

    Args:
        rate: Name of a hyperparameter with a range in `[0, 1)`, or a number.
        **keywords: Arguments of `keras.layers.SpatialDropout3D` and of `HyperLayer`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperSpatialDropout3D(0.5, ensemble_size=2, seed=0)
    >>> outputs = np.asarray(layer(np.ones((2 * 1, 3, 3, 3, 8), "float32"), training=True))
    >>> bool((outputs == outputs[:, :1, :1, :1]).all())
    True
    """

    plain_layer = keras.layers.SpatialDropout3D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperGaussianDropout(HyperNoise):
    """Multiplicative Gaussian noise with a per-member or per-sample rate.

    In training `outputs = inputs * noise` with noise of mean 1 and standard deviation `sqrt(rate / (1 - rate))`, equal
    to that of dropout at this rate. In inference the layer is the identity.

    Args:
        rate: Name of a hyperparameter with a range in `[0, 1)`, or a number.
        seed: Seed of the noise.
        **keywords: `ensemble_size` and `space` of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `rate` is not a known hyperparameter, or can leave `[0, 1)`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperGaussianDropout(0.5, ensemble_size=2, seed=0)
    >>> outputs = layer(np.ones((2 * 1, 1000), "float32"), training=True)
    >>> bool(0.9 < np.std(outputs) < 1.1)
    True
    """

    plain_layer = keras.layers.GaussianDropout
    settings = ("rate",)
    _highest = 1.0

    def __init__(self, rate: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(rate, *arguments, **keywords)

    def _disturb(self, members: Tensor, level: Tensor) -> Tensor:
        noise = keras.random.normal(ops.shape(members), seed=self.seed_generator, dtype="float32")
        return members * ops.cast(1 + ops.sqrt(level / (1 - level)) * noise, members.dtype)
