"""The heart of a hyper-batch layer: member kernels from one shared kernel, whatever the kernel is applied to."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_hyperens.layers.base import Setting
from keras_hyperens.layers.folding import stored_weights_of
from keras_hyperens.layers.members import check_rows
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members
from keras_hyperens.layers.penalties import Part
from keras_hyperens.layers.penalties import absolute_norms
from keras_hyperens.layers.penalties import squared_norms
from keras_hyperens.layers.weights import KernelWeights


@dataclass(frozen=True)
class Draw:
    """What a layer is at the current hyperparameter values."""

    kernels: Any  # [M, ...], or `None`: not folded
    biases: Any  # [M, 1 or B, U], or `None`: no bias
    shift: Any = None  # e, [M, 1 or B, U], or `None`: the kernel does not depend on hyperparameters


class HyperBatchLayer(KernelWeights):
    """A layer with a kernel of which every member has its own version. Abstract.

    For member k at position z of its hyperparameters, with `e = z @ kernel_embedding`, `e' = z @ bias_embedding`:

        kernel_k = kernel * (r_k s_kᵀ) + [delta_kernel * (u_k v_kᵀ)] * e
        bias_k   = bias_k + delta_bias_k * e'

    r and u scale the kernel's fan-in (A input channels), s, v and e its units (U); all are broadcast over the
    spatial axes of a convolution. Without hyperparameters only the first terms are there: a batch ensemble.

    With one draw per member the layer *folds*: it builds M kernels and applies each to its member's rows, at the
    price of a plain layer. With one draw per row it applies `kernel` and `delta_kernel` once to all rows.
    In training it adds the members' mean penalty `λ * sum(kernel_k²)`, so that one member's loss is what a lone
    Keras model with `keras.regularizers.L2(λ)` has; likewise for L1.

    Args:
        *arguments: As in the plain Keras layer.
        kernel_l1, kernel_l2, bias_l1, bias_l2: Strength of a penalty: a hyperparameter's name (natural scale), a name
            and a factor, a number, or `None`.
        sharing: What members share. `"hyper"` (default): all but rank-1 factors and biases. `"batch"`: the same, with
            no `delta_kernel` and no embedding. `"none"`: nothing, each has its own kernel. `"fixed_initialization"`:
            nothing, but all start equal.
        tie_fast_weights: Whether u = r and v = s.
        fast_weights_trainable: Whether r, s, u and v are trained.
        regularize_fast_weights: Whether the kernel's penalty includes the factors r, s, u and v.
        shared_embedding: Whether all members share one embedding, `[P, U]`; else each has its own, `[M, P, U]`.
        fast_weight_initializer: Of r, s, u and v: `"random_sign"` or any initialiser. Default normal around 1 with
            standard deviation 0.5: narrower, members stay alike and overfit together; wider, they learn slowly.
        delta_kernel_initializer: Default zeros: training starts from a batch ensemble and learns how it depends on the
            hyperparameters. (Random ones cost accuracy where the learning rate is high.)
        embedding_initializer: Default normal with standard deviation 0.2: large enough that the network feels its
            hyperparameters from the first step.
        **keywords: `ensemble_size` and `hyperparameters` of `HyperLayer`, and arguments of the plain Keras layer, but
            for its penalties; constraints act on the shared kernel and on the biases.

    Raises:
        ValueError: If a strength names no hyperparameter or can become negative, or a choice is unknown.
    """

    channel_axis = -1  # of inputs and outputs alike
    folds = True  # with one draw per member

    def apply_kernel(self, rows: Any, kernel: Any) -> Any:
        """The plain layer's linear operation, without bias."""
        raise NotImplementedError

    def apply_kernels(self, rows: Any, kernels: Any) -> Any:
        """Each member's kernel `[M, ...]` to its rows `[M*B, ...]`, giving `[M, B, ...]`.

        A loop over members. On 2 CPU cores, forward and backward, it takes 1.05 to 1.10 times one plain convolution
        of the same rows, a grouped convolution 1.07 to 1.34 times, `vectorized_map` 1.6 to 2.6 times; compiled by
        XLA the loop takes 1.0 to 1.2 times XLA's plain one, the grouped form 12 to 27 times
        (`python -m benchmarks.apply_kernels`).
        """
        members = ops.split(rows, self.ensemble_size)
        each = ops.unstack(kernels)  # its gradient is one stack; that of M slices adds M arrays of all kernels
        return ops.stack([self.apply_kernel(members[k], each[k]) for k in range(self.ensemble_size)])

    def beside_inputs(self, vectors: Any, rank: int) -> Any:
        """`[M, 1, A]` as a factor of inputs `[M, B, ...]`, whose rows have `rank` axes."""
        return self._beside_channels(vectors, rank)

    def beside_outputs(self, vectors: Any, rank: int) -> Any:
        """`[M, 1 or B, U]` as a factor of outputs `[M, B, ...]`, for inputs of `rank` axes."""
        return self._beside_channels(vectors, rank)

    def beside_biases(self, biases: Any, rank: int) -> Any:
        """Biases `[M, 1 or B, U]` as a term of outputs `[M, B, ...]`, for inputs of `rank` axes."""
        return self.beside_outputs(biases, rank)

    def _beside_channels(self, vectors: Any, rank: int) -> Any:
        others = [1] * (rank - 2)
        shape = ops.shape(vectors)
        tail = [*others, shape[2]] if self.channel_axis == -1 else [shape[2], *others]
        return ops.reshape(vectors, [*shape[:2], *tail])

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        check_rows(inputs.shape[0], self.ensemble_size)
        draw = self.draw(inputs)
        if training:
            self.penalize(draw)
        return self.apply(inputs, draw)

    def draw(self, inputs: Any = None) -> Draw:
        """The layer at the current hyperparameter values."""
        stored = stored_weights_of(self)
        if stored is not None:
            return Draw(*stored)
        positions = None
        if self.is_conditioned:
            positions = self.hyperparameters.positions(self.current_values(inputs))  # [M, 1 or B, P]
        shift = self._shift(positions)
        folded = not self.is_shared or (self.folds and (shift is None or shift.shape[1] == 1))
        return Draw(self._kernels(shift) if folded else None, self._biases(positions), shift)

    def apply(self, rows: Any, draw: Draw) -> Any:
        """The layer's outputs for rows `[M*B, ...]`."""
        rank = len(rows.shape)
        if draw.kernels is None:
            outputs = self.apply_by_row(rows, draw.shift)
        else:
            outputs = self.apply_kernels(rows, ops.cast(draw.kernels, self.compute_dtype))
        if draw.biases is not None:
            outputs = outputs + ops.cast(self.beside_biases(draw.biases, rank), self.compute_dtype)
        return self.activation(join_members(outputs))

    def fold(self, values: Any) -> tuple[Any, Any]:
        """Every member's kernel `[M, ...]` and bias `[M, 1, U]` (or `None`) at values `[M, 1, P]`."""
        positions = self.hyperparameters.positions(values) if self.is_conditioned else None
        return self._kernels(self._shift(positions)), self._biases(positions)

    def _shift(self, positions: Any) -> Any:
        """e: what the hyperparameters add to the units' factors of `delta_kernel`."""
        return None if positions is None else ops.matmul(positions, self.kernel_embedding)

    def _kernels(self, shift: Any) -> Any:
        if not self.is_shared:
            return ops.convert_to_tensor(self.kernel)
        kernels = self.kernel * self.axes.outer(self.r, self.s)
        if shift is None:
            return kernels
        return kernels + self.delta_kernel * self.axes.outer(self.u, self.v * ops.squeeze(shift, 1))

    def _biases(self, positions: Any) -> Any:
        if not self.use_bias:
            return None
        biases = ops.expand_dims(self.bias, 1)
        if positions is None:
            return biases
        return biases + ops.expand_dims(self.delta_bias, 1) * ops.matmul(positions, self.bias_embedding)

    def apply_by_row(self, rows: Any, shift: Any) -> Any:
        """Without folding: the shared kernels applied once to all rows, giving `[M, B, ...]`."""
        outputs = self._through(rows, self.kernel, self.r, ops.expand_dims(self.s, 1))
        if shift is None:
            return outputs
        return outputs + self._through(rows, self.delta_kernel, self.u, ops.expand_dims(self.v, 1) * shift)

    def _through(self, rows: Any, kernel: Any, fan_in: Any, units: Any) -> Any:
        rank = len(rows.shape)
        members = split_members(rows, self.ensemble_size)  # [M, B, ...]
        before = ops.cast(self.beside_inputs(ops.expand_dims(fan_in, 1), rank), self.compute_dtype)
        outputs = self.apply_kernel(join_members(members * before), ops.cast(kernel, self.compute_dtype))
        after = ops.cast(self.beside_outputs(units, rank), self.compute_dtype)
        return split_members(outputs, self.ensemble_size) * after

    def penalize(self, draw: Draw) -> None:
        """Adds the mean penalties of a draw; a layer used twice in a network has them once, as in Keras."""
        if not self.losses:
            for penalty in self.penalties(draw):
                self.add_loss(ops.mean(penalty))

    def penalties(self, draw: Draw) -> list[Any]:
        """Each kind of penalty of a draw, strength times norm: of every member and draw `[M, 1 or B]`."""
        found = [
            self._penalty(getattr(self, f"kernel_{norm}"), of_kernel, draw.shift)
            for norm, of_kernel in (("l1", absolute_norms), ("l2", squared_norms))
            if getattr(self, f"kernel_{norm}") is not None
        ]
        if draw.biases is not None:
            norms = {"l1": ops.abs, "l2": ops.square}
            found += [
                ops.multiply(self.setting_value(strength), ops.sum(power(draw.biases), axis=-1))
                for norm, power in norms.items()
                if (strength := getattr(self, f"bias_{norm}")) is not None
            ]
        return found

    def _penalty(self, strength: Setting, norms: Any, shift: Any) -> Any:
        return ops.multiply(self.setting_value(strength), self._kernel_norms(norms, shift))

    def _kernel_norms(self, norms: Any, shift: Any) -> Any:
        if not self.is_shared:
            return _own_norms(norms, self.kernel.value)
        with_factors = self.regularize_fast_weights
        kernel: Part = (self.kernel.value, (self.r.value, self.s.value) if with_factors else None)
        if shift is None:
            return norms(self.axes, kernel)
        delta: Part = (self.delta_kernel.value, (self.u.value, self.v.value) if with_factors else None)
        return norms(self.axes, kernel, delta, shift)

    def adopt(self, weights: list[Any]) -> None:
        kernel = ops.convert_to_tensor(weights[0])
        self.kernel.assign(kernel if self.is_shared else ops.stack([kernel] * self.ensemble_size))
        if self.use_bias:
            self.bias.assign(ops.stack([ops.reshape(weights[1], (-1,))] * self.ensemble_size))

    def member_weights(self, member: int, values: Any) -> list[Any]:
        kernels, biases = self.fold(values)
        own = [kernels[member]] + ([] if biases is None else [ops.reshape(biases[member, 0], self.bias_shape())])
        return [ops.convert_to_numpy(weight) for weight in own]


def _own_norms(norms: Any, kernels: Any) -> Any:
    """The norms of kernels that members do not share, `[M, ...]` to `[M, 1]`."""
    power = ops.abs if norms is absolute_norms else ops.square
    return ops.sum(power(kernels), axis=tuple(range(1, len(kernels.shape))))[:, None]
