"""Transposed convolutions of M members in one, two and three dimensions."""

import keras
from keras import ops

from keras_hyperens.layers.conv import HyperBatchConv
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


class HyperBatchConvTranspose(HyperBatchConv):
    """Transposed convolution of any number of dimensions. Abstract.

    The unit axis of the kernel precedes the fan-in: `[..., U, A]`.
    """

    _fan_in_axes = (-1,)
    _unit_axes = (-2,)

    def _kernel_shape(self, input_shape: Shape) -> tuple[int, ...]:
        return (*self.plain.kernel_size, self.plain.filters, self._input_channels(input_shape))

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv_transpose(
            rows,
            kernel,
            strides=self.plain.strides,
            padding=self.plain.padding,
            output_padding=self.plain.output_padding,
            data_format=self.data_format,
            dilation_rate=self.plain.dilation_rate,
        )


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConv1DTranspose(HyperBatchConvTranspose):
    """Transposed 1D convolution with per-member kernels; see `HyperBatchConv2DTranspose`.

    Args:
        filters, kernel_size: As in `keras.layers.Conv1DTranspose`.
        **keywords: Arguments of `keras.layers.Conv1DTranspose`, of `HyperBatchLayer` and of `HyperLayer`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConv1DTranspose(6, 2, strides=2, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 3), "float32")).shape
    TensorShape([8, 10, 6])
    """

    plain_layer = keras.layers.Conv1DTranspose


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConv2DTranspose(HyperBatchConvTranspose):
    """Transposed 2D convolution with per-member kernels conditioned on hyperparameters.

    r and u scale the input channels, s, v and e the filters, as in `HyperBatchConv2D`; see `HyperBatchLayer`.

    Args:
        filters: U, the number of output channels.
        kernel_size: Height and width of the kernel: an integer or a pair.
        **keywords: Arguments of `keras.layers.Conv2DTranspose`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, height, width, A)`, member by member, or channels first.

    Output shape:
        Tensor `(M * batch_size, new_height, new_width, filters)`, or channels first.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConv2DTranspose(6, 2, strides=2, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 5, 3), "float32")).shape
    TensorShape([8, 10, 10, 6])
    """

    plain_layer = keras.layers.Conv2DTranspose


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConv3DTranspose(HyperBatchConvTranspose):
    """Transposed 3D convolution with per-member kernels; see `HyperBatchConv2DTranspose`.

    Args:
        filters, kernel_size: As in `keras.layers.Conv3DTranspose`.
        **keywords: Arguments of `keras.layers.Conv3DTranspose`, of `HyperBatchLayer` and of `HyperLayer`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConv3DTranspose(6, 2, strides=2, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 2, 2, 2, 3), "float32")).shape
    TensorShape([8, 4, 4, 4, 6])
    """

    plain_layer = keras.layers.Conv3DTranspose
