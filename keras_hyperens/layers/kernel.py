"""The heart of a hyper-batch layer: member kernels from one shared kernel, whatever the kernel is applied to."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.base import Setting
from keras_hyperens.layers.folding import stored_weights_of
from keras_hyperens.layers.initializers import another
from keras_hyperens.layers.initializers import get_initializer
from keras_hyperens.layers.members import check_rows
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members
from keras_hyperens.layers.penalties import squared_norm
from keras_hyperens.layers.penalties import squared_norms


class HyperBatchLayer(HyperLayer):
    """A layer with a kernel of which every member has its own version. Abstract.

    For member k at position z of its hyperparameters, with `e = z @ kernel_embedding`, `e' = z @ bias_embedding`:

        kernel_k = kernel * (r_k s_kᵀ) + [delta_kernel * (u_k v_kᵀ)] * e
        bias_k   = bias_k + delta_bias_k * e'

    r and u scale the kernel's fan-in (A input channels), s, v and e its units (U); all are broadcast over the
    spatial axes of a convolution. Without hyperparameters only the first terms are there: a batch ensemble.

    With one draw per member the layer *folds*: it builds M kernels and applies each to its member's rows, at the
    price of a plain layer. With one draw per row it applies `kernel` and `delta_kernel` once to all rows.
    In training it adds the members' mean penalty `λ * sum(kernel_k²)`, so that one member's loss is what a lone
    Keras model with `keras.regularizers.L2(λ)` has.

    Args:
        ensemble_size: M, the number of members.
        hyperparameters: The `HyperparameterSpace`, or `None`.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_constraint, bias_constraint: As in the
            plain Keras layer; constraints act on the shared kernel and on the biases.
        kernel_l2, bias_l2: Strength of the L2 penalty: a hyperparameter's name (natural scale), a number, or `None`.
        tie_fast_weights: Whether u = r and v = s.
        regularize_fast_weights: Whether the kernel's penalty includes the factors r, s, u and v.
        shared_embedding: Whether all members share one embedding, `[P, U]`; else each has its own, `[M, P, U]`.
        fast_weight_initializer: Of r, s, u and v: `"random_sign"` or any initialiser. Default normal around 1 with
            standard deviation 0.5: narrower, members stay alike and overfit together; wider, they learn slowly.
        delta_kernel_initializer: Default zeros: training starts from a batch ensemble and learns how it depends on the
            hyperparameters. (Random ones cost accuracy where the learning rate is high.)
        embedding_initializer: Default normal with standard deviation 0.2: large enough that the network feels its
            hyperparameters from the first step.

    Raises:
        ValueError: If a strength names no hyperparameter or can become negative.
    """

    def __init__(
        self,
        *,
        ensemble_size: int,
        hyperparameters: Any = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        kernel_l2: Setting = None,
        bias_l2: Setting = None,
        tie_fast_weights: bool = False,
        regularize_fast_weights: bool = False,
        shared_embedding: bool = True,
        fast_weight_initializer: Any = None,
        delta_kernel_initializer: Any = "zeros",
        embedding_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(ensemble_size=ensemble_size, hyperparameters=hyperparameters, **kwargs)
        self.kernel_l2 = self._check_setting("kernel_l2", kernel_l2)
        self.bias_l2 = self._check_setting("bias_l2", bias_l2)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.tie_fast_weights = tie_fast_weights
        self.regularize_fast_weights = regularize_fast_weights
        self.shared_embedding = shared_embedding
        self.fast_weight_initializer = get_initializer(
            fast_weight_initializer or keras.initializers.RandomNormal(1.0, 0.5)
        )
        self.delta_kernel_initializer = keras.initializers.get(delta_kernel_initializer)
        self.embedding_initializer = keras.initializers.get(
            embedding_initializer or keras.initializers.RandomNormal(0.0, 0.2)
        )

    # What a final layer supplies.

    def kernel_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """`[..., A, U]`, the shape of the plain layer's kernel."""
        raise NotImplementedError

    def apply_kernel(self, rows: Any, kernel: Any) -> Any:
        """The plain layer's linear operation, without bias."""
        raise NotImplementedError

    def apply_kernels(self, rows: Any, kernels: Any) -> Any:
        """Each member's kernel `[M, ..., A, U]` to its rows `[M*B, ...]`, giving `[M, B, ...]`.

        A loop over members. On 2 CPU cores, forward and backward, it takes 1.05 to 1.10 times one plain convolution
        of the same rows, a grouped convolution 1.07 to 1.34 times, `vectorized_map` 1.6 to 2.6 times; compiled by
        XLA the loop takes 1.0 to 1.2 times XLA's plain one, the grouped form 12 to 27 times
        (`python -m benchmarks.apply_kernels`).
        """
        members = ops.split(rows, self.ensemble_size)
        return ops.stack([self.apply_kernel(members[k], kernels[k]) for k in range(self.ensemble_size)])

    unit_axis = -1  # of inputs and outputs alike
    plain_layer: type[keras.layers.Layer]  # the Keras layer that this one varies

    # What follows from it for all of them.

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = self.kernel_shape(input_shape)
        channels, units, columns, members = shape[-2], shape[-1], len(self.hyperparameters), self.ensemble_size
        own = [] if self.shared_embedding else [members]
        self.kernel = self._add("kernel", shape, self.kernel_initializer, self.kernel_constraint)
        self.r = self._add("r", (members, channels), another(self.fast_weight_initializer, 2))
        self.s = self._add("s", (members, units), another(self.fast_weight_initializer, 3))
        if self.use_bias:
            self.bias = self._add("bias", (members, units), self.bias_initializer, self.bias_constraint)
        if columns:
            self.delta_kernel = self._add("delta_kernel", shape, another(self.delta_kernel_initializer, 1))
            self.kernel_embedding = self._add(
                "kernel_embedding", (*own, columns, units), another(self.embedding_initializer, 6)
            )
            self.u, self.v = self.r, self.s
        if columns and not self.tie_fast_weights:
            self.u = self._add("u", (members, channels), another(self.fast_weight_initializer, 4))
            self.v = self._add("v", (members, units), another(self.fast_weight_initializer, 5))
        if columns and self.use_bias:
            self.delta_bias = self._add("delta_bias", (members, units), "zeros")
            self.bias_embedding = self._add(
                "bias_embedding", (*own, columns, units), another(self.embedding_initializer, 7)
            )
        self.built = True

    def _add(self, name: str, shape: tuple[int, ...], initializer: Any, constraint: Any = None) -> keras.Variable:
        # Not cast automatically: kernels are put together, and penalties summed, at the variables' precision.
        return self.add_weight(name=name, shape=shape, initializer=initializer, constraint=constraint, autocast=False)

    @property
    def fast_weights(self) -> list[keras.Variable]:
        """The rank-1 factors r, s and, with hyperparameters and untied, u, v."""
        untied = [self.u, self.v] if len(self.hyperparameters) and not self.tie_fast_weights else []
        return [self.r, self.s, *untied]

    @property
    def embeddings(self) -> list[keras.Variable]:
        """The embeddings of the hyperparameters, none if there are no hyperparameters."""
        if not len(self.hyperparameters):
            return []
        return [self.kernel_embedding] + ([self.bias_embedding] if self.use_bias else [])

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        check_rows(inputs.shape[0], self.ensemble_size)
        stored = stored_weights_of(self)
        if stored is not None:
            return self._apply_folded(inputs, *stored)
        positions = self._positions(inputs)  # [M, 1 or B, P]
        shift = self._shift(positions)  # [M, 1 or B, U]
        biases = self._biases(positions)  # [M, 1 or B, U]
        if training and not self.losses:  # a layer used twice in a network has its penalty once, as in Keras
            self._add_penalties(shift, biases)
        if shift is None or shift.shape[1] == 1:
            return self._apply_folded(inputs, self._kernels(shift), biases)
        return self._finish(self._apply_by_row(inputs, shift), biases, len(inputs.shape))

    def fold(self, values: Any) -> tuple[Any, Any]:
        """Every member's kernel `[M, ..., A, U]` and bias `[M, 1, U]` (or `None`) at values `[M, 1, P]`."""
        positions = self.hyperparameters.positions(values) if len(self.hyperparameters) else None
        return self._kernels(self._shift(positions)), self._biases(positions)

    def _apply_folded(self, inputs: Any, kernels: Any, biases: Any) -> Any:
        outputs = self.apply_kernels(inputs, ops.cast(kernels, self.compute_dtype))
        return self._finish(outputs, biases, len(inputs.shape))

    def _finish(self, outputs: Any, biases: Any, rank: int) -> Any:
        """`[M, B, ...]` to rows, with bias and activation."""
        if biases is not None:
            outputs = outputs + self._beside_units(biases, rank)
        return self.activation(join_members(outputs))

    def _positions(self, inputs: Any) -> Any:
        if not len(self.hyperparameters):
            return None
        return self.hyperparameters.positions(self.current_values(inputs))

    def _shift(self, positions: Any) -> Any:
        """e, `[M, 1 or B, U]`: what the hyperparameters add to the units' factors of `delta_kernel`."""
        return None if positions is None else ops.matmul(positions, self.kernel_embedding)

    def _kernels(self, shift: Any) -> Any:
        kernels = self.kernel * self._outer(self.r, self.s)
        if shift is None:
            return kernels
        return kernels + self.delta_kernel * self._outer(self.u, self.v * ops.squeeze(shift, 1))

    def _outer(self, fan_in: Any, units: Any) -> Any:
        """`[M, A]` and `[M, U]` to `[M, 1.., A, U]`."""
        product = ops.expand_dims(fan_in, 2) * ops.expand_dims(units, 1)
        spatial = [1] * (len(self.kernel.shape) - 2)
        return ops.reshape(product, [self.ensemble_size, *spatial, *product.shape[1:]])

    def _biases(self, positions: Any) -> Any:
        if not self.use_bias:
            return None
        biases = ops.expand_dims(self.bias, 1)
        if positions is None:
            return biases
        return biases + ops.expand_dims(self.delta_bias, 1) * ops.matmul(positions, self.bias_embedding)

    def _apply_by_row(self, inputs: Any, shift: Any) -> Any:
        rank = len(inputs.shape)
        members = split_members(inputs, self.ensemble_size)  # [M, B, ...]

        def through(kernel: Any, fan_in: Any, units: Any) -> Any:
            scaled = members * self._beside_units(ops.expand_dims(fan_in, 1), rank)
            rows = self.apply_kernel(join_members(scaled), ops.cast(kernel, self.compute_dtype))
            return split_members(rows, self.ensemble_size) * self._beside_units(units, rank)

        shared = through(self.kernel, self.r, ops.expand_dims(self.s, 1))
        return shared + through(self.delta_kernel, self.u, ops.expand_dims(self.v, 1) * shift)

    def _beside_units(self, vectors: Any, rank: int) -> Any:
        """`[M, 1 or B, U]` as a factor or term of `[M, B, ...]`, whose rows have `rank` axes."""
        others = [1] * (rank - 2)
        shape = ops.shape(vectors)
        tail = [*others, shape[2]] if self.unit_axis == -1 else [shape[2], *others]
        return ops.cast(ops.reshape(vectors, [*shape[:2], *tail]), self.compute_dtype)

    def _add_penalties(self, shift: Any, biases: Any) -> None:
        if self.kernel_l2 is not None:
            self._add_penalty(self.kernel_l2, self._kernel_norms(shift))
        if self.bias_l2 is not None and biases is not None:
            self._add_penalty(self.bias_l2, ops.sum(biases * biases, axis=-1))

    def _add_penalty(self, strength: Setting, squared_norms: Any) -> None:
        """The mean over members and draws of strength times squared norm, `[M, 1 or B]` both."""
        self.add_loss(ops.mean(ops.multiply(self.setting_value(strength), squared_norms)))

    def _kernel_norms(self, shift: Any) -> Any:
        with_factors = self.regularize_fast_weights
        factors = (self.r.value, self.s.value) if with_factors else None
        if shift is None:
            return squared_norm(self.kernel.value, factors)
        delta_factors = (self.u.value, self.v.value) if with_factors else None
        return squared_norms(self.kernel.value, self.delta_kernel.value, shift, factors, delta_factors)

    def hyperparameters_used(self) -> set[str]:
        return {setting for setting in (self.kernel_l2, self.bias_l2) if isinstance(setting, str)}

    def plain_config(self) -> dict[str, Any]:
        """The arguments that this layer shares with the plain Keras layer."""
        config = self.get_config()
        return {name: config[name] for name in config if name not in _OWN_ARGUMENTS}

    def member_layer(self, values: dict[str, float]) -> keras.layers.Layer:
        plain = self.plain_config()
        for role, setting in (("kernel", self.kernel_l2), ("bias", self.bias_l2)):
            strength = values[setting] if isinstance(setting, str) else setting
            plain[f"{role}_regularizer"] = None if strength is None else keras.regularizers.L2(strength)
        return self.plain_layer.from_config(plain)

    def member_weights(self, member: int, values: Any) -> list[Any]:
        kernels, biases = self.fold(values)
        weights = [kernels[member]] if biases is None else [kernels[member], biases[member, 0]]
        return [ops.convert_to_numpy(weight) for weight in weights]

    def get_config(self) -> dict[str, Any]:
        plain = {
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
        own = {name: getattr(self, name) for name in _OWN_SETTINGS}
        own |= {name: keras.initializers.serialize(getattr(self, name)) for name in _OWN_INITIALIZERS}
        return {**super().get_config(), **plain, **own}


_OWN_SETTINGS = ("kernel_l2", "bias_l2", "tie_fast_weights", "regularize_fast_weights", "shared_embedding")
_OWN_INITIALIZERS = ("fast_weight_initializer", "delta_kernel_initializer", "embedding_initializer")
_OWN_ARGUMENTS = {"ensemble_size", "hyperparameters", *_OWN_SETTINGS, *_OWN_INITIALIZERS}
