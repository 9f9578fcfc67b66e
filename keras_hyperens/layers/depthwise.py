"""Depthwise and separable convolutions of M members in one and two dimensions."""

import keras
from keras import ops

from keras_hyperens.layers.composite import HyperBatchComposite
from keras_hyperens.layers.conv import HyperBatchConv
from keras_hyperens.layers.conv import HyperBatchConv1D
from keras_hyperens.layers.conv import HyperBatchConv2D
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


class HyperBatchDepthwiseConv(HyperBatchConv):
    """Depthwise convolution of any number of dimensions. Abstract.

    The kernel is `[..., A, depth_multiplier]`: r and u scale the A input channels, s, v and e the U = A *
    depth_multiplier output channels.
    """

    roles = {"kernel": "depthwise", "bias": "bias"}
    _unit_axes = (-2, -1)

    def _kernel_shape(self, input_shape: Shape) -> tuple[int, ...]:
        return (*self.plain.kernel_size, self._input_channels(input_shape), self.plain.depth_multiplier)

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        return ops.depthwise_conv(
            rows,
            kernel,
            strides=self.plain.strides,
            padding=self.plain.padding,
            data_format=self.data_format,
            dilation_rate=self.plain.dilation_rate,
        )


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchDepthwiseConv1D(HyperBatchDepthwiseConv):
    """Depthwise 1D convolution with per-member kernels; see `HyperBatchDepthwiseConv2D`.

    Args:
        kernel_size: As in `keras.layers.DepthwiseConv1D`.
        **keywords: Arguments of `keras.layers.DepthwiseConv1D`, of `HyperBatchLayer` and of `HyperLayer`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchDepthwiseConv1D(3, depth_multiplier=2, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 3), "float32")).shape
    TensorShape([8, 3, 6])
    """

    plain_layer = keras.layers.DepthwiseConv1D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchDepthwiseConv2D(HyperBatchDepthwiseConv):
    """Depthwise 2D convolution with per-member kernels conditioned on hyperparameters.

    r and u scale the A input channels, s, v and e the U = A * depth_multiplier output channels; see `HyperBatchLayer`.

    Args:
        kernel_size: Height and width of the kernel: an integer or a pair.
        **keywords: Arguments of `keras.layers.DepthwiseConv2D`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, height, width, A)`, member by member, or channels first.

    Output shape:
        Tensor `(M * batch_size, new_height, new_width, U)`, or channels first.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchDepthwiseConv2D(3, depth_multiplier=2, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 5, 3), "float32")).shape
    TensorShape([8, 3, 3, 6])
    """

    plain_layer = keras.layers.DepthwiseConv2D


class HyperBatchSeparableConv(HyperBatchComposite):
    """Depthwise convolution followed by a pointwise convolution. Abstract."""

    roles = {"depthwise": "depthwise", "pointwise": "pointwise", "bias": "bias"}
    settings = ("depthwise_l1", "depthwise_l2", "pointwise_l1", "pointwise_l2", "bias_l1", "bias_l2")
    _depthwise_layer: type[HyperBatchDepthwiseConv]
    _pointwise_layer: type[HyperBatchConv]

    def _make_parts(self) -> None:
        plain = self.plain
        self.depthwise = self._part(
            self._depthwise_layer,
            {"kernel": "depthwise"},
            kernel_size=plain.kernel_size,
            depth_multiplier=plain.depth_multiplier,
            strides=plain.strides,
            padding=plain.padding,
            dilation_rate=plain.dilation_rate,
            data_format=plain.data_format,
            use_bias=False,
            depthwise_initializer=plain.depthwise_initializer,
            depthwise_constraint=plain.depthwise_constraint,
        )
        self.pointwise = self._part(
            self._pointwise_layer,
            {"kernel": "pointwise", "bias": "bias"},
            filters=plain.filters,
            kernel_size=1,
            data_format=plain.data_format,
            activation=plain.activation,
            use_bias=plain.use_bias,
            kernel_initializer=plain.pointwise_initializer,
            kernel_constraint=plain.pointwise_constraint,
            bias_initializer=plain.bias_initializer,
            bias_constraint=plain.bias_constraint,
        )

    def build(self, input_shape: Shape) -> None:
        self.depthwise.build(input_shape)
        self.pointwise.build(self.depthwise.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.pointwise(self.depthwise(inputs, training=training), training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(self.plain.compute_output_shape(input_shape))


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchSeparableConv1D(HyperBatchSeparableConv):
    """Separable 1D convolution with per-member kernels; see `HyperBatchSeparableConv2D`.

    Args:
        filters, kernel_size: As in `keras.layers.SeparableConv1D`.
        **keywords: Arguments of `keras.layers.SeparableConv1D`, of `HyperBatchLayer` and of `HyperLayer`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchSeparableConv1D(6, 3, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 3), "float32")).shape
    TensorShape([8, 3, 6])
    """

    plain_layer = keras.layers.SeparableConv1D
    _depthwise_layer, _pointwise_layer = HyperBatchDepthwiseConv1D, HyperBatchConv1D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchSeparableConv2D(HyperBatchSeparableConv):
    """Separable 2D convolution with per-member kernels conditioned on hyperparameters.

    A `HyperBatchDepthwiseConv2D` without bias, followed by a 1x1 `HyperBatchConv2D`; each kernel has its own factors.

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the depthwise kernel: an integer or a pair.
        depthwise_l1, depthwise_l2, pointwise_l1, pointwise_l2, bias_l1, bias_l2: L1 and L2 coefficients.
        **keywords: Arguments of `keras.layers.SeparableConv2D`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, height, width, A)`, member by member, or channels first.

    Output shape:
        Tensor `(M * batch_size, new_height, new_width, filters)`, or channels first.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchSeparableConv2D(6, 3, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 5, 3), "float32")).shape
    TensorShape([8, 3, 3, 6])
    """

    plain_layer = keras.layers.SeparableConv2D
    _depthwise_layer, _pointwise_layer = HyperBatchDepthwiseConv2D, HyperBatchConv2D
