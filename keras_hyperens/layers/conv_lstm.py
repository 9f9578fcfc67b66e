"""Convolutional LSTM of M members in one, two and three dimensions."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.conv import HyperBatchConv
from keras_hyperens.layers.conv import HyperBatchConv1D
from keras_hyperens.layers.conv import HyperBatchConv2D
from keras_hyperens.layers.conv import HyperBatchConv3D
from keras_hyperens.layers.penalized import Draw
from keras_hyperens.layers.recurrent import HyperBatchLSTM
from keras_hyperens.layers.recurrent import HyperBatchLSTMCell
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


class HyperBatchConvLSTMCell(HyperBatchLSTMCell):
    """One time step of a convolutional LSTM.

    The layer sets `inputs_map`, `state_shape`, and for each sequence `inputs_draw`, the kernels of the inputs.
    """

    inputs_map: HyperLayer
    inputs_draw: Draw
    state_shape: Shape

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Any, list[Any]]:
        return super().call(self.inputs_map.apply(inputs, self.inputs_draw), states)

    def forget(self) -> None:
        super().forget()
        del self.inputs_draw

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        return [ops.zeros((batch_size, *self.state_shape), dtype=self.compute_dtype) for _ in self.state_size]


class HyperBatchConvLSTM(HyperBatchLSTM):
    """Convolutional LSTM of any number of dimensions. Abstract."""

    _cell_type = HyperBatchConvLSTMCell
    _conv_type: type[HyperBatchConv]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        cell = self.rnn.cell
        cell.inputs_map, cell._unit_axis = self.inputs_map, self.inputs_map._channel_axis

    @property
    def _units(self) -> int:
        return self.plain.filters

    @property
    def _num_features(self) -> int:  # type: ignore[override]
        return len(self.plain.kernel_size) + 1

    def _make_parts(self) -> None:
        plain = self.plain
        common = {
            "filters": self._gates * self._units,
            "kernel_size": plain.kernel_size,
            "data_format": plain.data_format,
        }
        of_inputs = {"strides": plain.strides, "padding": plain.padding, "dilation_rate": plain.dilation_rate}
        self.inputs_map, self.recurrent = self._projections(self._conv_type, of_inputs, {"padding": "same"}, **common)

    def build(self, input_shape: Shape) -> None:
        of_step = (None, *input_shape[2:])
        if None in of_step[1:]:
            raise ValueError(
                f"Layer {self.name!r} needs inputs of a known size, except for the batch and time axes. "
                f"Received: input_shape={input_shape}"
            )
        self.inputs_map.build(of_step)
        state_shape = list(self.inputs_map.compute_output_shape(of_step))
        state_shape[self.inputs_map._channel_axis] = self._units
        self.recurrent.build(tuple(state_shape))
        self.rnn.cell.state_shape = tuple(state_shape[1:])
        self.rnn.build(input_shape)
        self.built = True

    def _mapped(self, sequences: Tensor, training: bool | None) -> Tensor:
        """Returns the sequences, which each time step projects: one draw per sample has no axis for the time."""
        draw = self.inputs_map.draw(sequences)
        if training:
            self.inputs_map._penalize(draw)
        self.rnn.cell.inputs_draw = draw
        return sequences

    def _ones_of_state(self, mapped: Tensor) -> Tensor:
        return ops.ones((ops.shape(mapped)[0], 1, *self.rnn.cell.state_shape), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConvLSTM1D(HyperBatchConvLSTM):
    """1D convolutional LSTM with per-member kernels conditioned on hyperparameters.

    As `HyperBatchConvLSTM2D`, with one spatial axis.

    Args:
        filters: Number of channels of the state.
        kernel_size: Length of the kernels.
        **keywords: Arguments of `keras.layers.ConvLSTM1D`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, time, length, A)`, member by member.

    Output shape:
        Tensor `(M * batch_size, new_length, filters)`, or with a time axis if `return_sequences=True`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConvLSTM1D(6, 3, padding="same", ensemble_size=4)
    >>> layer(np.ones((4 * 2, 2, 5, 3), "float32")).shape
    TensorShape([8, 5, 6])
    """

    plain_layer = keras.layers.ConvLSTM1D
    _conv_type = HyperBatchConv1D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConvLSTM2D(HyperBatchConvLSTM):
    """2D convolutional LSTM with per-member kernels conditioned on hyperparameters.

    The two kernels, of the inputs and of the state, are those of two `HyperBatchConv2D` layers with 4 * filters output
    channels: r and u scale input channels and channels of the state, s, v and e the channels of all four gates. A
    dropout mask is shared by all time steps and gates.

    Args:
        filters: Number of channels of the state.
        kernel_size: Height and width of the kernels: an integer or a pair.
        kernel_l1, kernel_l2, recurrent_l1, recurrent_l2, bias_l1, bias_l2: L1 and L2 coefficients.
        dropout, recurrent_dropout: Rates: name of a hyperparameter, or a number.
        **keywords: Arguments of `keras.layers.ConvLSTM2D`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, time, height, width, A)`, or with channels before the height and width if
        `data_format="channels_first"`, member by member. Height and width must be known.

    Output shape:
        Tensor `(M * batch_size, new_height, new_width, filters)`, or with a time axis if `return_sequences=True`;
        states as in Keras.

    Raises:
        ValueError: If `stateful=True`, or the height or width is unknown.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConvLSTM2D(6, 3, padding="same", ensemble_size=4)
    >>> layer(np.ones((4 * 2, 2, 5, 5, 3), "float32")).shape
    TensorShape([8, 5, 5, 6])

    References:
        - Shi et al., [Convolutional LSTM Network](https://arxiv.org/abs/1506.04214)
    """

    plain_layer = keras.layers.ConvLSTM2D
    _conv_type = HyperBatchConv2D


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchConvLSTM3D(HyperBatchConvLSTM):
    """3D convolutional LSTM with per-member kernels conditioned on hyperparameters.

    As `HyperBatchConvLSTM2D`, with three spatial axes.

    Args:
        filters: Number of channels of the state.
        kernel_size: Depth, height and width of the kernels: an integer or a triple.
        **keywords: Arguments of `keras.layers.ConvLSTM3D`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, time, depth, height, width, A)`, member by member.

    Output shape:
        Tensor `(M * batch_size, new_depth, new_height, new_width, filters)`, or with a time axis if
        `return_sequences=True`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchConvLSTM3D(6, 2, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 2, 3, 3, 3, 1), "float32")).shape
    TensorShape([8, 2, 2, 2, 6])
    """

    plain_layer = keras.layers.ConvLSTM3D
    _conv_type = HyperBatchConv3D
