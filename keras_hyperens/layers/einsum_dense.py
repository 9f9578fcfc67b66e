"""Einsum layer of M members, used for the projections of attention."""

from string import ascii_uppercase
from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.form import meets_few_rows
from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.layers.members import split_members
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor

MEMBER = "Z"  # letter of the member axis; Keras equations use lowercase letters


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchEinsumDense(HyperBatchLayer):
    """`EinsumDense` layer with per-member kernels conditioned on hyperparameters.

    For the equation `"abc,cde->abde"` the fan-in A consists of the kernel axes of the input (c), and the units U of
    those of the output (d and e): r and u lie along the former, s, v and e along the latter. An axis of all three
    counts as both.

    Args:
        equation, output_shape: As in `keras.layers.EinsumDense`. The first axis of inputs and outputs is the batch
            axis, which must not be an axis of the kernel.
        **keywords: Arguments of `keras.layers.EinsumDense`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Tensor `(M * batch_size, ...)`, by the equation.

    Raises:
        ValueError: If the batch axis is not the first axis, or is an axis of the kernel.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchEinsumDense("abc,cde->abde", output_shape=(None, 2, 5), ensemble_size=4)
    >>> layer(np.ones((4 * 2, 7, 3), "float32")).shape
    TensorShape([8, 7, 2, 5])
    """

    plain_layer = keras.layers.EinsumDense
    _is_batched = True

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.use_bias = self.plain.bias_axes is not None
        inputs, kernel, outputs = self._letters("...")
        has_rows_first = inputs[0] == outputs[0] and inputs[0] not in kernel
        if not has_rows_first and not inputs.startswith("..."):
            raise ValueError(
                "The batch axis must be the first axis of inputs and outputs, and not an axis of the kernel. "
                f"Received: equation={self.plain.equation!r}"
            )

    def _letters(self, others: str) -> tuple[str, str, str]:
        """Returns the axes of inputs, kernel and outputs, with these letters for an ellipsis."""
        inputs, kernel, outputs = self.plain.equation.replace(" ", "").replace("->", ",").split(",")
        return inputs.replace("...", others), kernel, outputs.replace("...", others)

    def _kernel_shape(self, input_shape: Shape) -> tuple[int, ...]:
        config = {**self.plain.get_config(), "kernel_initializer": "zeros", "bias_initializer": "zeros"}
        plain = keras.layers.EinsumDense.from_config(config)
        plain.build(input_shape)
        # Letters replace an ellipsis, for which TensorFlow's einsum is wrong in half precision on a CPU.
        others = ascii_uppercase[: len(input_shape) - len(self._letters("")[0])]
        self._inputs, self._kernel, self._outputs = self._letters(others)
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape))
        places = list(enumerate(self._kernel))
        self._fan_in_axes = tuple(place for place, letter in places if letter in self._inputs)
        self._unit_axes = tuple(place for place, letter in places if letter in self._outputs)
        self._lengths = dict(zip(self._kernel, plain.kernel.shape, strict=True))
        self._shape_of_bias = tuple(plain.bias.shape) if self.use_bias else ()
        return tuple(plain.kernel.shape)

    def _bias_shape(self) -> tuple[int, ...]:
        return self._shape_of_bias

    def _folds(self, inputs: Tensor, draw_by_row: bool) -> bool:
        axes = [length for length, letter in zip(inputs.shape, self._inputs) if letter not in self._kernel]
        return not meets_few_rows(axes, self._num_members, draw_by_row)

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        return ops.einsum(f"{self._inputs},{self._kernel}->{self._outputs}", rows, kernel)

    def _apply_kernels(self, rows: Tensor, kernels: Tensor) -> Tensor:
        equation = f"{MEMBER}{self._inputs},{MEMBER}{self._kernel}->{MEMBER}{self._outputs}"
        return ops.einsum(equation, split_members(rows, self.ensemble_size), kernels)

    def _beside_inputs(self, vectors: Tensor, rank: int) -> Tensor:
        return self._spread(vectors, self._inputs)

    def _beside_outputs(self, vectors: Tensor, rank: int) -> Tensor:
        return self._spread(vectors, self._outputs)

    def _beside_biases(self, biases: Tensor, rank: int) -> Tensor:
        others = [1] * (len(self._outputs) - 1 - len(self._shape_of_bias))
        return ops.reshape(biases, [*ops.shape(biases)[:2], *others, *self._shape_of_bias])

    def _spread(self, vectors: Tensor, letters: str) -> Tensor:
        """Reshapes `[M, 1 or B, ...]`, in the kernel's order of axes, to broadcast to an array with these axes."""
        mine, target = [letter for letter in self._kernel if letter in letters], letters[1:]
        vectors = ops.reshape(vectors, [*ops.shape(vectors)[:2], *(self._lengths[letter] for letter in mine)])
        order = sorted(range(len(mine)), key=lambda place: target.index(mine[place]))
        vectors = ops.transpose(vectors, [0, 1, *(place + 2 for place in order)])
        shape = [self._lengths[letter] if letter in mine else 1 for letter in target]
        return ops.reshape(vectors, [*ops.shape(vectors)[:2], *shape])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        inputs, _, outputs = self._letters(ascii_uppercase[: len(input_shape) - len(self._letters("")[0])])
        given = self.plain.get_config()["output_shape"]
        given = list(given) if isinstance(given, list | tuple) else [given]
        lengths = [*[None] * (len(outputs) - len(given)), *given]
        known = dict(zip(inputs, input_shape, strict=True))
        return tuple(known.get(letter, length) for letter, length in zip(outputs, lengths, strict=True))
