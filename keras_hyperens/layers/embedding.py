"""Embedding layers of M members."""

from typing import Any

import keras
from keras import ops

from keras_hyperens import masks
from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members
from keras_hyperens.layers.penalized import Draw
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchEmbedding(HyperBatchLayer):
    """Embedding with per-member tables conditioned on hyperparameters.

    The kernel is the table `[A, U]`: r and u scale the vectors of single indices, s, v and e the units of all vectors.
    Training does not fold the table: only the vectors of the indices in a batch are computed.

    Args:
        input_dim: A, the number of indices.
        output_dim: U, the length of a vector.
        kernel_l1, kernel_l2: L1 and L2 coefficients of the complete table.
        **keywords: Arguments of `keras.layers.Embedding`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Integer tensor `(M * batch_size, ...)`, member by member.

    Output shape:
        Tensor `(M * batch_size, ..., output_dim)`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchEmbedding(100, 6, ensemble_size=4)
    >>> layer(np.ones((4 * 2, 5), "int32")).shape
    TensorShape([8, 5, 6])
    """

    plain_layer = keras.layers.Embedding
    _takes_indices = True
    settings = ("kernel_l1", "kernel_l2")
    roles = {"kernel": "embeddings"}

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.autocast = False  # half precision would round indices

    def _kernel_shape(self, input_shape: Shape) -> tuple[int, ...]:
        return (self.plain.input_dim, self.plain.output_dim)

    def _folds(self, inputs: Tensor, draw_by_row: bool) -> bool:
        return False

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        return ops.take(kernel, ops.cast(rows, "int32"), axis=0)

    def _through(self, rows: Tensor, kernel: Tensor, fan_in: Tensor, units: Tensor) -> Tensor:
        indices = ops.cast(split_members(rows, self.ensemble_size), "int32")
        vectors = ops.take(ops.cast(kernel, self.compute_dtype), indices, axis=0)
        factors = self._factors(indices, ops.cast(fan_in, self.compute_dtype))
        return vectors * factors * ops.cast(self._beside_outputs(units, len(rows.shape) + 1), self.compute_dtype)

    def _factors(self, indices: Tensor, factors: Tensor) -> Tensor:
        """Looks up each member's factors `[M, A]` at its indices `[M, B, ...]`, to `[M, B, ..., 1]`."""
        length = self.plain.input_dim
        indices = ops.where(indices < 0, indices + length, indices)  # negative ones count from the end, as in Keras
        first = ops.arange(self.ensemble_size, dtype="int32") * length
        first = ops.reshape(first, [self.ensemble_size] + [1] * (len(indices.shape) - 1))
        return ops.take(ops.reshape(factors, (-1, 1)), indices + first, axis=0)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        return ops.not_equal(inputs, 0) if self.plain.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.plain.output_dim)


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchReversibleEmbedding(HyperBatchEmbedding):
    """Embedding with per-member tables conditioned on hyperparameters, whose transposes project back to indices.

    `layer(indices)` looks up the vectors of the member's table `kernel_k`, and `layer(vectors, reverse=True)` returns
    `vectors @ kernel_kᵀ`, as language models with tied weights do. Neither computes the tables of the members.

    Args:
        input_dim: A, the number of indices.
        output_dim: U, the length of a vector.
        kernel_l1, kernel_l2: L1 and L2 coefficients of the complete table.
        **keywords: Arguments of `keras.layers.ReversibleEmbedding`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Integer tensor `(M * batch_size, ...)`, or with `reverse=True` vectors `(M * batch_size, ..., output_dim)`,
        member by member.

    Output shape:
        Tensor `(M * batch_size, ..., output_dim)`, or with `reverse=True` `(M * batch_size, ..., input_dim)`.

    Raises:
        ValueError: If `tie_weights=False`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchReversibleEmbedding(100, 6, ensemble_size=4)
    >>> vectors = layer(np.ones((4 * 2, 5), "int32"))
    >>> layer(vectors, reverse=True).shape
    TensorShape([8, 5, 100])

    References:
        - Press and Wolf, [Using the Output Embedding](https://arxiv.org/abs/1608.05859)
    """

    plain_layer = keras.layers.ReversibleEmbedding

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if not self.plain.tie_weights:
            raise ValueError(
                "An embedding of members has one table for both directions: use `HyperBatchEmbedding` and "
                "`HyperBatchDense` for two. Received: tie_weights=False"
            )

    def call(  # type: ignore[override]
        self, inputs: Tensor, reverse: bool = False, training: bool | None = None
    ) -> Tensor:
        if not reverse:
            vectors = super().call(inputs, training=training)
            return masks.with_mask(vectors, super().compute_mask(inputs))
        draw = self.draw(inputs)
        if training:
            self._penalize(draw)
        logits = self._projected_back(ops.cast(inputs, self.plain.reverse_dtype or self.compute_dtype), draw)
        cap = self.plain.logit_soft_cap
        return logits if cap is None else ops.tanh(logits / cap) * cap

    def _projected_back(self, rows: Tensor, draw: Draw) -> Tensor:
        """Returns the products of vectors `[M*B, ..., U]` and each member's transposed table, `[M*B, ..., A]`."""
        members = split_members(rows, self._num_members)
        if draw.kernels is not None:
            flat = ops.reshape(members, (self._num_members, -1, rows.shape[-1]))
            logits = ops.einsum("mbu,mau->mba", flat, ops.cast(ops.stack(draw.kernels), rows.dtype))
            return ops.reshape(logits, (*ops.shape(rows)[:-1], self.plain.input_dim))
        logits = self._transposed(members, self.kernel, self.r, ops.expand_dims(self.s, 1))
        if draw.shift is not None:
            units = ops.expand_dims(self.v, 1) * draw.shift
            logits += self._transposed(members, self.delta_kernel, self.u, units)
        return join_members(logits)

    def _transposed(self, members: Tensor, kernel: Tensor, fan_in: Tensor, units: Tensor) -> Tensor:
        """Returns the products of `[M, B, ..., U]` and the transposed kernel with factors, `[M, B, ..., A]`."""
        rank, dtype = len(members.shape) - 1, members.dtype
        scaled = members * ops.cast(self._beside_outputs(units, rank), dtype)
        logits = ops.matmul(scaled, ops.cast(ops.transpose(kernel), dtype))
        return logits * ops.cast(self._beside_outputs(ops.expand_dims(fan_in, 1), rank), dtype)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """The lookup attaches its mask itself, as in Keras: projections have none."""

    def compute_output_shape(self, input_shape: Shape, reverse: bool = False) -> Shape:
        return tuple(self.plain.compute_output_shape(input_shape, reverse))

    def compute_output_spec(self, inputs: Tensor, reverse: bool = False, training: bool | None = None) -> Any:
        return self.plain.compute_output_spec(inputs, reverse)
