"""Embedding layer of M members."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.layers.members import split_members
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
    _is_batched = True
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

    def _apply_kernels(self, rows: Tensor, kernels: Tensor) -> Tensor:
        return self._take(split_members(rows, self.ensemble_size), kernels)

    def _through(self, rows: Tensor, kernel: Tensor, fan_in: Tensor, units: Tensor) -> Tensor:
        indices = split_members(rows, self.ensemble_size)
        vectors = ops.take(ops.cast(kernel, self.compute_dtype), ops.cast(indices, "int32"), axis=0)
        factors = self._take(indices, ops.cast(ops.expand_dims(fan_in, -1), self.compute_dtype))
        return vectors * factors * ops.cast(self._beside_outputs(units, len(rows.shape) + 1), self.compute_dtype)

    def _take(self, indices: Tensor, tables: Tensor) -> Tensor:
        """Looks up each member's table `[M, A, ...]` at its indices `[M, B, ...]` with one gather."""
        first = ops.arange(self.ensemble_size, dtype="int32") * self.plain.input_dim
        first = ops.reshape(first, [self.ensemble_size] + [1] * (len(indices.shape) - 1))
        flat = ops.reshape(tables, (-1, tables.shape[-1]))
        return ops.take(flat, ops.cast(indices, "int32") + first, axis=0)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        return ops.not_equal(inputs, 0) if self.plain.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.plain.output_dim)
