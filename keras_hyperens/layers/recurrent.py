"""Recurrent layers of M members: LSTM and GRU."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.composite import HyperBatchComposite
from keras_hyperens.layers.dense import HyperBatchDense
from keras_hyperens.layers.dropout import HyperDropout
from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.layers.penalized import Draw
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class HyperBatchCell(keras.layers.Layer):
    """One time step of all members, from the mapped inputs and the last state. Abstract.

    The layer sets `draw`, the recurrent kernels at the current hyperparameter values, and `state_mask`, the dropout of
    the state. Both apply to a complete sequence and are computed once, outside of the loop over time.
    """

    draw: Draw
    state_mask: Any

    def __init__(self, plain: keras.layers.Layer, recurrent: HyperBatchLayer, units: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.recurrent = recurrent
        self.units, self.output_size = units, units
        self.activation, self.recurrent_activation = plain.activation, plain.recurrent_activation
        self.reset_after = getattr(plain, "reset_after", None)
        self.built = True

    def forget(self) -> None:
        """Removes what belongs to one sequence."""
        del self.draw, self.state_mask

    def from_state(self, state: Tensor) -> Tensor:
        """Applies the recurrent kernel to a state, with the dropout of this sequence."""
        return self.recurrent.apply(state if self.state_mask is None else state * self.state_mask, self.draw)


class HyperBatchLSTMCell(HyperBatchCell):
    """One time step of an LSTM."""

    _unit_axis = -1

    @property
    def state_size(self) -> list[int]:
        return [self.units, self.units]

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Any, list[Any]]:
        hidden, carry = states
        gates = ops.split(inputs + self.from_state(hidden), 4, axis=self._unit_axis)
        enter, forget, leave = (self.recurrent_activation(gates[number]) for number in (0, 1, 3))
        carry = forget * carry + enter * self.activation(gates[2])
        hidden = leave * self.activation(carry)
        return hidden, [hidden, carry]


class HyperBatchGRUCell(HyperBatchCell):
    """One time step of a GRU."""

    @property
    def state_size(self) -> int:
        return self.units

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Any, list[Any]]:
        hidden = states[0] if isinstance(states, list | tuple) else states
        update, reset, new = ops.split(inputs, 3, axis=-1)
        from_update, from_reset, from_new = ops.split(self.from_state(hidden), 3, axis=-1)
        keep = self.recurrent_activation(update + from_update)
        reset = self.recurrent_activation(reset + from_reset)
        if self.reset_after:
            from_new = reset * from_new
        else:
            from_new = ops.split(self.from_state(reset * hidden), 3, axis=-1)[2]
        hidden = keep * hidden + (1 - keep) * self.activation(new + from_new)
        return hidden, [hidden]


class HyperBatchRNN(HyperBatchComposite):
    """Recurrent layer: a projection of the inputs of all time steps, and a cell that loops over time. Abstract."""

    settings = (
        *("kernel_l1", "kernel_l2", "recurrent_l1", "recurrent_l2", "bias_l1", "bias_l2"),
        *("dropout", "recurrent_dropout"),
    )
    roles = {"kernel": "kernel", "recurrent": "recurrent", "bias": "bias"}
    _gates: int
    _cell_type: type[HyperBatchCell]
    _num_features = 1  # number of axes of the inputs of a time step

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        plain = self.plain
        if plain.stateful:
            raise ValueError("Recurrent layers of members do not keep state between batches. Received: stateful=True")
        cell = self._cell_type(plain, self.recurrent, self._units, dtype=self.dtype_policy)
        names = ("return_sequences", "return_state", "go_backwards", "unroll", "zero_output_for_mask")
        flags = {name: getattr(plain, name) for name in names}
        self.return_sequences, self.return_state = plain.return_sequences, plain.return_state
        self.go_backwards, self.stateful = plain.go_backwards, False
        self.rnn = keras.layers.RNN(cell, **flags, dtype=self.dtype_policy)
        self.input_dropout, self.state_dropout = self._dropout(self.dropout), self._dropout(self.recurrent_dropout)

    @property
    def _units(self) -> int:
        """The size of the state."""
        return self.plain.units

    def _make_parts(self) -> None:
        self.inputs_map, self.recurrent = self._projections(HyperBatchDense, {}, {}, units=self._gates * self._units)

    def _projections(
        self, kind: type[HyperBatchLayer], of_inputs: dict[str, Any], of_state: dict[str, Any], **common: Any
    ) -> tuple[HyperLayer, HyperLayer]:
        """Creates the projections of inputs and state, with the arguments of each and common ones."""
        plain = self.plain
        inputs_map = self._part(
            kind,
            {"kernel": "kernel", "bias": "bias"},
            **common,
            **of_inputs,
            use_bias=plain.use_bias,
            kernel_initializer=plain.kernel_initializer,
            kernel_constraint=plain.kernel_constraint,
            bias_initializer=self._initial_bias(),
            bias_constraint=plain.bias_constraint,
        )
        recurrent = self._part(
            kind,
            {"kernel": "recurrent", "bias": "bias"},
            **common,
            **of_state,
            use_bias=plain.use_bias and self._state_has_bias(),
            kernel_initializer=plain.recurrent_initializer,
            kernel_constraint=plain.recurrent_constraint,
            bias_initializer=plain.bias_initializer,
            bias_constraint=plain.bias_constraint,
        )
        return inputs_map, recurrent

    def _initial_bias(self) -> Any:
        """Returns the initializer of the bias."""
        return self.plain.bias_initializer

    def _state_has_bias(self) -> bool:
        """Whether the recurrent projection has its own bias."""
        return False

    def _dropout(self, rate: Setting) -> HyperDropout | None:
        """Returns dropout with one mask for all time steps."""
        if not rate:
            return None
        members = {"ensemble_size": self.ensemble_size, "space": self.space}
        seed = self.plain.get_config()["seed"]
        noise_shape = (None, 1, *[None] * self._num_features)
        return HyperDropout(rate, noise_shape=noise_shape, seed=seed, dtype=self.dtype_policy, **members)

    def build(self, input_shape: Shape) -> None:
        self.inputs_map.build(input_shape)
        self.recurrent.build((None, self._units))
        self.rnn.build((*input_shape[:2], self._gates * self._units))
        self.built = True

    def call(
        self,
        sequences: Tensor,
        initial_state: TensorTree = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> TensorTree:
        if self.input_dropout is not None:
            sequences = self.input_dropout(sequences, training=training)
        cell, draw = self.rnn.cell, self.recurrent.draw(sequences)
        if training:
            self.recurrent._penalize(draw)
        mapped = self._mapped(sequences, training)
        cell.draw, cell.state_mask = draw, self._state_mask(mapped, training)
        try:
            return self.rnn(mapped, initial_state=initial_state, mask=mask, training=training)
        finally:
            cell.forget()

    def _mapped(self, sequences: Tensor, training: bool | None) -> Tensor:
        """Returns the projection of the inputs, of all time steps."""
        return self.inputs_map(sequences, training=training)

    def _state_mask(self, mapped: Tensor, training: bool | None) -> Tensor:
        if self.state_dropout is None or not training:
            return None
        return self.state_dropout(self._ones_of_state(mapped), training=True)[:, 0]

    def _ones_of_state(self, mapped: Tensor) -> Tensor:
        """Returns ones with the shape of a state of one time step, `[M*B, 1, ...]`."""
        return ops.ones_like(mapped[:, :1, : self._units])

    def adopt(self, weights: list[Any]) -> None:
        kernel, recurrent, *biases = weights
        biases = list(np.reshape(biases[0], (-1, self._gates * self._units))) if biases else []
        self.inputs_map.adopt([kernel, *biases[:1]])
        self.recurrent.adopt([recurrent, *biases[1:]])

    def member_weights(self, member: int, values: Tensor) -> list[Any]:
        kernel, *bias = self.inputs_map.member_weights(member, values)
        recurrent, *recurrent_bias = self.recurrent.member_weights(member, values)
        return [kernel, recurrent, *([np.stack([*bias, *recurrent_bias])] if recurrent_bias else bias)]

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> TensorTree:
        return self.rnn.compute_mask(inputs, mask)

    def compute_output_shape(self, sequences_shape: Shape, initial_state_shape: TensorTree = None) -> TensorTree:
        return self.plain.compute_output_shape(sequences_shape, initial_state_shape)


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchLSTM(HyperBatchRNN):
    """LSTM with per-member kernels conditioned on hyperparameters.

    The two kernels, of the inputs `[A, 4 * units]` and of the state `[units, 4 * units]`, are those of two
    `HyperBatchDense` layers: r and u scale inputs and states, s, v and e the units of all four gates. The first kernel
    is applied to all time steps at once.

    Args:
        units: Size of the state.
        kernel_l1, kernel_l2, recurrent_l1, recurrent_l2, bias_l1, bias_l2: L1 and L2 coefficients.
        dropout, recurrent_dropout: Rates: name of a hyperparameter, or a number. The mask is shared by all time steps.
        **keywords: Arguments of `keras.layers.LSTM`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, time, A)`, member by member.

    Output shape:
        Tensor `(M * batch_size, units)`, or `(M * batch_size, time, units)` with `return_sequences`; states as in
        Keras.

    Raises:
        ValueError: If `stateful=True`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchLSTM(6, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 3), "float32")).shape
    TensorShape([8, 6])
    """

    plain_layer = keras.layers.LSTM
    _gates = 4
    _cell_type = HyperBatchLSTMCell

    def _initial_bias(self) -> Any:
        initializer, units = self.plain.bias_initializer, self._units
        if not self.plain.unit_forget_bias:
            return initializer

        def initialize(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
            enter, rest = initializer((units,), dtype=dtype), initializer((2 * units,), dtype=dtype)
            return ops.concatenate([enter, ops.ones((units,), dtype=dtype), rest])

        return initialize


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchGRU(HyperBatchRNN):
    """GRU with per-member kernels conditioned on hyperparameters.

    As `HyperBatchLSTM`, with three gates; `reset_after` adds a bias of the recurrent projection.

    Args:
        units: Size of the state.
        kernel_l1, kernel_l2, recurrent_l1, recurrent_l2, bias_l1, bias_l2: L1 and L2 coefficients.
        dropout, recurrent_dropout: Rates: name of a hyperparameter, or a number. The mask is shared by all time steps.
        **keywords: Arguments of `keras.layers.GRU`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, time, A)`, member by member.

    Output shape:
        As in `HyperBatchLSTM`.

    Raises:
        ValueError: If `stateful=True`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchGRU(6, return_sequences=True, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5, 3), "float32")).shape
    TensorShape([8, 5, 6])
    """

    plain_layer = keras.layers.GRU
    _gates = 3
    _cell_type = HyperBatchGRUCell

    def _state_has_bias(self) -> bool:
        return self.plain.reset_after
