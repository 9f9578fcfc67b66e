"""Base class of hyper-batch layers: member kernels from one shared kernel, for any linear operation."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.hyperparameters.scope import current_centers
from keras_hyperens.layers.folding import the_one_member
from keras_hyperens.layers.members import check_rows
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members
from keras_hyperens.layers.penalized import Draw
from keras_hyperens.layers.penalized import PenalizedKernel
from keras_hyperens.types import Tensor


class HyperBatchLayer(PenalizedKernel):
    """Layer with per-member kernels conditioned on hyperparameters. Abstract.

    For member k at position z of its hyperparameters, with `e = (z - m_k) @ kernel_embedding` and
    `e' = (z - m_k) @ bias_embedding`:

        kernel_k = kernel * (r_k s_kᵀ) + [delta_kernel * (u_k v_kᵀ)] * e
        bias_k   = bias_k + delta_bias_k * e'

    The center m_k is the point of zero response: in a `HyperBatchEnsemble` the center of the member's own interval, or
    0 with `response="reference"`; see `hyperparameter_scope`. r and u scale the kernel's fan-in (A input channels), s,
    v and e its units (U); all broadcast over the spatial axes of a convolution. Without hyperparameters only the first
    terms remain, which is a batch ensemble.

    With one draw per member the layer *folds*: it computes M kernels and applies each to the samples of its member, at
    the cost of a plain layer. With one draw per sample it computes the kernels of both terms and applies both, at twice
    the cost. With few samples, for which computing kernels costs more (see `layers/form.py`), it applies the shared
    `kernel` and `delta_kernel` to all samples. In training it adds the mean penalty of the members,
    `λ * sum(kernel_k²)`, so that the loss of a member equals that of a single Keras model with
    `keras.regularizers.L2(λ)`; likewise for L1.

    Args:
        *arguments: As in the plain Keras layer.
        kernel_l1, kernel_l2, bias_l1, bias_l2: Coefficient of a penalty: name of a hyperparameter (natural scale), a
            tuple `(name, factor)`, a number, or `None`.
        sharing: Shared weights. `"hyper"` (default): all except rank-1 factors and biases. `"batch"`: the same, without
            `delta_kernel` and embedding. `"independent"`: none, each member has its own kernel.
        same_initialization: Whether independent kernels and biases start equal.
        tie_fast_weights: Whether u = r and v = s always. By default they start equal and are trained separately.
        fast_weights_trainable: Whether r, s, u and v are trainable.
        regularize_fast_weights: Whether the kernel's penalty includes the factors r, s, u and v.
        shared_embedding: Whether all members share one embedding, `[P, U]`; otherwise each has its own, `[M, P, U]`.
        fast_weight_initializer: Initializer of r, s, u and v: `"random_sign"` or any initializer. Defaults to a normal
            distribution with mean 1 and standard deviation 0.2: with a smaller one members stay similar and overfit
            together; with a larger one they learn slowly. On some tables random signs are better.
        delta_kernel_initializer: Defaults to zeros: training starts from a batch ensemble and learns the dependence on
            the hyperparameters. (Random values reduce the accuracy at high learning rates.)
        embedding_initializer: Defaults to a normal distribution with standard deviation 0.2, which is large enough for
            a dependence on the hyperparameters from the first step.
        **keywords: `ensemble_size` and `space` of `HyperLayer`, and arguments of the plain Keras layer, except for its
            regularizers; constraints apply to the shared kernel and the biases.

    Raises:
        ValueError: If a coefficient is not a known hyperparameter or can become negative, or an option is unknown.
    """

    _channel_axis = -1  # of inputs and outputs
    _takes_indices = False  # instead of numbers to multiply
    _is_batched = False  # whether `_apply_kernels` supports all members' kernels at once

    def _folds(self, inputs: Tensor, draw_by_row: bool) -> bool:
        """Whether to compute M kernels for these inputs, with one draw per member or per sample."""
        return True

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        """Applies the plain layer's linear operation, without bias."""
        raise NotImplementedError

    def _apply_kernels(self, rows: Tensor, kernels: Tensor) -> Tensor:
        """Applies each member's kernel `[M, ...]` to its inputs `[M*B, ...]` in one operation, to `[M, B, ...]`."""
        raise NotImplementedError

    def _beside_inputs(self, vectors: Tensor, rank: int) -> Tensor:
        """Reshapes `[M, 1, A]` to broadcast to inputs `[M, B, ...]` of a layer with `rank` input axes."""
        return self._beside_channels(vectors, rank)

    def _beside_outputs(self, vectors: Tensor, rank: int) -> Tensor:
        """Reshapes `[M, 1 or B, U]` to broadcast to outputs `[M, B, ...]`, for inputs of `rank` axes."""
        return self._beside_channels(vectors, rank)

    def _beside_biases(self, biases: Tensor, rank: int) -> Tensor:
        """Reshapes biases `[M, 1 or B, U]` to broadcast to outputs `[M, B, ...]`, for inputs of `rank` axes."""
        return self._beside_outputs(biases, rank)

    def _beside_channels(self, vectors: Tensor, rank: int) -> Tensor:
        others = [1] * (rank - 2)
        shape = ops.shape(vectors)
        tail = [*others, shape[2]] if self._channel_axis == -1 else [shape[2], *others]
        return ops.reshape(vectors, [*shape[:2], *tail])

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        check_rows(inputs.shape[0], self._num_members)
        if not self._takes_indices and not keras.backend.is_float_dtype(inputs.dtype):
            inputs = ops.cast(inputs, self.compute_dtype)  # as in Keras' matrix products
        draw = self.draw(inputs)
        if training:
            self._penalize(draw)
        return self.apply(inputs, draw)

    def draw(self, inputs: Tensor) -> Draw:
        """Returns the layer at the current hyperparameter values, for `inputs`."""
        stored = the_one_member()
        if stored is not None:
            kernel, bias = stored.weights[self]
            return Draw([kernel], bias)
        positions = None
        if self.is_conditioned:
            positions = self._positions(self._current_values(inputs))
        shift = self._shift(positions)
        biases = self._biases(positions)
        draw_by_row = shift is not None and shift.shape[1] != 1
        if self.is_shared and not self._folds(inputs, draw_by_row):
            return Draw(None, biases, shift)
        if not draw_by_row:
            return Draw(self._kernels(shift), biases, shift)
        return Draw(self._kernels(None), biases, shift, self._multiplied(self.delta_kernel, self.u, self.v))

    def apply(self, rows: Tensor, draw: Draw) -> Tensor:
        """Returns the layer's outputs for inputs `[M*B, ...]`."""
        biases = None
        if draw.biases is not None:
            biases = ops.cast(self._beside_biases(draw.biases, len(rows.shape)), self.compute_dtype)
        if isinstance(draw.kernels, list):
            return self._member_by_member(rows, draw, biases)
        if draw.kernels is None:
            outputs = self._apply_by_row(rows, draw.shift)
        else:
            outputs = self._apply_kernels(rows, ops.cast(draw.kernels, self.compute_dtype))
        return self.activation(join_members(outputs if biases is None else outputs + biases))

    def _member_by_member(self, rows: Tensor, draw: Draw, biases: Tensor) -> Tensor:
        """Applies kernel, bias and activation member by member, which TensorFlow fuses.

        On 2 CPU cores, forward and backward, this loop takes 1.05 to 1.10 times as long as one plain convolution of the
        same inputs, a grouped convolution 1.07 to 1.34 times, `vectorized_map` 1.6 to 2.6 times; compiled by XLA the
        loop takes 1.0 to 1.2 times as long as XLA's plain convolution, the grouped convolution 12 to 27 times (`python
        -m benchmarks.speed --parts kernels`).
        """
        members = ops.split(rows, self._num_members)
        outputs = self._each(members, draw.kernels)
        if draw.deltas is not None:
            shifts = ops.unstack(ops.cast(self._beside_outputs(draw.shift, len(rows.shape)), self.compute_dtype))
            varied = self._each(members, draw.deltas)
            outputs = [output + part * shift for output, part, shift in zip(outputs, varied, shifts, strict=True)]
        if biases is not None:
            outputs = [output + bias for output, bias in zip(outputs, ops.unstack(biases), strict=True)]
        return ops.concatenate([self.activation(output) for output in outputs])

    def _each(self, members: list[Any], kernels: list[Any]) -> list[Any]:
        pairs = zip(members, kernels, strict=True)
        return [self._apply_kernel(rows, ops.cast(kernel, self.compute_dtype)) for rows, kernel in pairs]

    def fold(self, values: Tensor) -> tuple[list[Any], Any]:
        """Returns the members' kernels, and biases `[M, 1, U]` (or `None`), at values `[M, 1, P]` and the centers."""
        positions = self._positions(values) if self.is_conditioned else None
        kernels = self._kernels(self._shift(positions))
        return kernels if isinstance(kernels, list) else ops.unstack(kernels), self._biases(positions)

    def _positions(self, values: Tensor) -> Tensor:
        """Returns positions z of the values relative to the scope's centers, `[M, 1 or B, P]`."""
        positions, centers = self.space.positions(values), current_centers()
        return positions if centers is None else positions - self.space.positions(centers)

    def _shift(self, positions: Tensor) -> Tensor:
        """Returns e, the contribution of the hyperparameters to the unit factors of `delta_kernel`."""
        return None if positions is None else ops.matmul(positions, self.kernel_embedding)

    def _kernels(self, shift: Tensor) -> Tensor:
        if not self.is_shared:
            own = ops.convert_to_tensor(self.kernel)
            return own if self._is_batched else ops.unstack(own)
        kernels = self._multiplied(self.kernel, self.r, self.s)
        if shift is None:
            return kernels
        deltas = self._multiplied(self.delta_kernel, self.u, self.v * ops.squeeze(shift, 1))
        return [kernel + delta for kernel, delta in zip(kernels, deltas, strict=True)]

    def _multiplied(self, kernel: Tensor, fan_in: Tensor, units: Tensor) -> list[Any]:
        """Multiplies a shared kernel by each member's factors, one member at a time for cache efficiency."""
        kernel, factors = ops.convert_to_tensor(kernel), zip(ops.unstack(fan_in), ops.unstack(units), strict=True)
        return [kernel * self.axes.outer(*pair) for pair in factors]

    def _biases(self, positions: Tensor) -> Tensor:
        if not self.use_bias:
            return None
        biases = ops.expand_dims(self.bias, 1)
        if positions is None:
            return biases
        return biases + ops.expand_dims(self.delta_bias, 1) * ops.matmul(positions, self.bias_embedding)

    def _apply_by_row(self, rows: Tensor, shift: Tensor) -> Tensor:
        """Applies the shared kernels to all samples without folding, `[M, B, ...]`."""
        outputs = self._through(rows, self.kernel, self.r, ops.expand_dims(self.s, 1))
        if shift is None:
            return outputs
        return outputs + self._through(rows, self.delta_kernel, self.u, ops.expand_dims(self.v, 1) * shift)

    def _through(self, rows: Tensor, kernel: Tensor, fan_in: Tensor, units: Tensor) -> Tensor:
        rank = len(rows.shape)
        members = split_members(rows, self._num_members)  # [M, B, ...]
        before = ops.cast(self._beside_inputs(ops.expand_dims(fan_in, 1), rank), self.compute_dtype)
        outputs = self._apply_kernel(join_members(members * before), ops.cast(kernel, self.compute_dtype))
        after = ops.cast(self._beside_outputs(units, rank), self.compute_dtype)
        return split_members(outputs, self._num_members) * after

    def adopt(self, weights: list[Any]) -> None:
        kernel = ops.convert_to_tensor(weights[0])
        self.kernel.assign(kernel if self.is_shared else ops.stack([kernel] * self.ensemble_size))
        if self.use_bias:
            self.bias.assign(ops.stack([ops.reshape(weights[1], (-1,))] * self.ensemble_size))

    def member_weights(self, member: int, values: Tensor) -> list[Any]:
        kernels, biases = self.fold(values)
        own = [kernels[member]] + ([] if biases is None else [ops.reshape(biases[member, 0], self._bias_shape())])
        return [ops.convert_to_numpy(weight) for weight in own]
