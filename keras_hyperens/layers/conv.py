"""Convolutions of M members in one, two and three dimensions."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


class HyperBatchConv(HyperBatchLayer):
    """Convolution of any number of dimensions. Abstract."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.data_format = self.plain.data_format
        self._channel_axis = -1 if self.data_format == "channels_last" else 1

    def _input_channels(self, input_shape: Shape) -> int:
        """Checks the shape of the inputs and returns their number of channels."""
        rank = len(self.plain.kernel_size) + 2
        channels = input_shape[self._channel_axis] if len(input_shape) == rank else None
        if channels is None:
            raise ValueError(
                f"Layer {self.name!r} needs inputs of {rank} axes with a known number of channels, {self.data_format}. "
                f"Received: input_shape={input_shape}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=rank, axes={self._channel_axis: channels})
        return channels

    def _kernel_shape(self, input_shape: Shape) -> tuple[int, ...]:
        channels = self._input_channels(input_shape)
        if channels % self.plain.groups:
            raise ValueError(
                f"Layer {self.name!r} needs a number of channels divisible by `groups`. "
                f"Received: channels={channels}, groups={self.plain.groups}"
            )
        return (*self.plain.kernel_size, channels // self.plain.groups, self.plain.filters)

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv(
            rows,
            kernel,
            strides=self.plain.strides,
            padding=self.plain.padding,
            data_format=self.data_format,
            dilation_rate=self.plain.dilation_rate,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(self.plain.compute_output_shape(input_shape))


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConv1D(HyperBatchConv):
    """1D convolution with per-member kernels conditioned on hyperparameters.

    As `HyperBatchConv2D`, with one spatial axis. Causal padding applies to each sample.

    Args:
        filters: U, the number of output channels.
        kernel_size: Length of the kernel.
        **keywords: Arguments of `keras.layers.Conv1D`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, length, A)`, member by member.

    Output shape:
        Tensor `(M * batch_size, new_length, filters)`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConv1D(6, 3, padding="causal", ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 3), "float32")).shape
    TensorShape([8, 5, 6])

    References:
        - Wenzel et al., [Hyperparameter Ensembles](https://arxiv.org/abs/2006.13570)
    """

    plain_layer = keras.layers.Conv1D

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        if self.plain.padding != "causal":
            return super()._apply_kernel(rows, kernel)
        left = self.plain.dilation_rate[0] * (self.plain.kernel_size[0] - 1)
        around = [(0, 0), (0, 0)]
        around.insert(1 if self._channel_axis == -1 else 2, (left, 0))
        return ops.conv(
            ops.pad(rows, around),
            kernel,
            strides=self.plain.strides,
            padding="valid",
            data_format=self.data_format,
            dilation_rate=self.plain.dilation_rate,
        )


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConv2D(HyperBatchConv):
    """2D convolution with per-member kernels conditioned on hyperparameters.

    `outputs = activation(conv(inputs, kernel_k(λ)) + bias_k(λ))` for the samples of member k; see `HyperBatchLayer` for
    the kernels, the penalties and the other arguments.

    Args:
        filters: U, the number of output channels.
        kernel_size: Height and width of the kernel: an integer or a pair.
        **keywords: Arguments of `keras.layers.Conv2D`, of `HyperBatchLayer` (L1 and L2 coefficients, sharing) and of
            `HyperLayer` (`ensemble_size`, `space`).

    Input shape:
        Tensor `(M * batch_size, height, width, A)`, or `(M * batch_size, A, height, width)` with
        `data_format="channels_first"`, member by member.

    Output shape:
        Tensor `(M * batch_size, new_height, new_width, filters)`, or channels first.

    Raises:
        ValueError: If `keras.layers.Conv2D` rejects an argument, or a coefficient is not a known hyperparameter.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
    >>> layer = khe.HyperBatchConv2D(6, 3, padding="same", ensemble_size=4, space=space, kernel_l2="l2")
    >>> with khe.hyperparameter_scope(np.full((4, 1, 1), 1e-4, "float32")):
    ...     outputs = layer(np.ones((4 * 2, 5, 5, 3), "float32"))
    >>> outputs.shape
    TensorShape([8, 5, 5, 6])

    References:
        - Wenzel et al., [Hyperparameter Ensembles](https://arxiv.org/abs/2006.13570)
    """

    plain_layer = keras.layers.Conv2D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConv3D(HyperBatchConv):
    """3D convolution with per-member kernels conditioned on hyperparameters.

    As `HyperBatchConv2D`, with three spatial axes.

    Args:
        filters: U, the number of output channels.
        kernel_size: Depth, height and width of the kernel: an integer or a triple.
        **keywords: Arguments of `keras.layers.Conv3D`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, depth, height, width, A)`, member by member.

    Output shape:
        Tensor `(M * batch_size, new_depth, new_height, new_width, filters)`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConv3D(6, 2, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 3, 3, 3, 1), "float32")).shape
    TensorShape([8, 2, 2, 2, 6])

    References:
        - Wenzel et al., [Hyperparameter Ensembles](https://arxiv.org/abs/2006.13570)
    """

    plain_layer = keras.layers.Conv3D
