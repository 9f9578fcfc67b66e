"""A two-dimensional convolution of M members."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.kernel import HyperBatchLayer


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConv2D(HyperBatchLayer):
    """A 2D convolution of which every member, at every hyperparameter value, has its own version.

    `outputs = activation(conv(inputs, kernel_k(λ)) + bias_k(λ))` for the rows of member k; see `HyperBatchLayer` for
    the kernels, the penalties and the other arguments.

    Args:
        filters: U, the number of output channels.
        kernel_size: Height and width of the kernel: an integer or a pair.
        strides, padding, data_format, dilation_rate: As in `keras.layers.Conv2D`.
        ensemble_size: M, the number of members.
        hyperparameters: The `HyperparameterSpace`, or `None`.
        **kwargs: Arguments of `HyperBatchLayer` and of `keras.layers.Layer`.

    Input shape:
        Rows `(M * batch_size, height, width, A)`, or `(M * batch_size, A, height, width)` with
        `data_format="channels_first"`, member by member.

    Output shape:
        Rows `(M * batch_size, new_height, new_width, filters)`, or channels first.

    Raises:
        ValueError: If `filters`, `kernel_size`, `strides`, `padding`, `data_format` or `dilation_rate` is one that
            `keras.layers.Conv2D` refuses, or a strength names no hyperparameter.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2)])
    >>> layer = khe.HyperBatchConv2D(6, 3, padding="same", ensemble_size=4, hyperparameters=space, kernel_l2="l2")
    >>> with khe.hyperparameter_scope(np.full((4, 1, 1), 1e-4, "float32")):
    ...     rows = layer(np.ones((4 * 2, 5, 5, 3), "float32"))
    >>> rows.shape
    TensorShape([8, 5, 5, 6])

    References:
        - Wenzel et al., [Hyperparameter Ensembles](https://arxiv.org/abs/2006.13570)
    """

    plain_layer = keras.layers.Conv2D

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = 1,
        *,
        ensemble_size: int,
        hyperparameters: Any = None,
        **kwargs: Any,
    ) -> None:
        # Keras' own layer checks and completes what the two have in common.
        plain = keras.layers.Conv2D(
            filters, kernel_size, strides=strides, padding=padding, data_format=data_format, dilation_rate=dilation_rate
        )
        super().__init__(ensemble_size=ensemble_size, hyperparameters=hyperparameters, **kwargs)
        self.filters = filters
        self.kernel_size = plain.kernel_size
        self.strides = plain.strides
        self.padding = plain.padding
        self.data_format = plain.data_format
        self.dilation_rate = plain.dilation_rate
        self.unit_axis = -1 if self.data_format == "channels_last" else 1

    def kernel_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int, ...]:
        if len(input_shape) != 4 or input_shape[self.unit_axis] is None:
            raise ValueError(
                f"Layer {self.name!r} needs rows of images with a known number of channels, {self.data_format}. "
                f"Received: input_shape={input_shape}"
            )
        channels = input_shape[self.unit_axis]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self.unit_axis: channels})
        return (*self.kernel_size, channels, self.filters)

    def apply_kernel(self, rows: Any, kernel: Any) -> Any:
        return ops.conv(
            rows,
            kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        plain = self.plain_layer.from_config(self.plain_config())
        return tuple(plain.compute_output_shape(input_shape))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
        }
