"""Dense layer of M members."""

from typing import Any

import keras
from keras import ops

from keras_hyperens.layers.form import meets_few_rows
from keras_hyperens.layers.kernel import HyperBatchLayer
from keras_hyperens.layers.members import split_members
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchDense(HyperBatchLayer):
    """Dense layer with per-member kernels conditioned on hyperparameters.

    `outputs = activation(inputs @ kernel_k(λ) + bias_k(λ))` for the samples of member k; see `HyperBatchLayer` for the
    kernels, the penalties and the other arguments.

    Args:
        units: U, the number of outputs.
        ensemble_size: M, the number of members.
        space: The `HyperparameterSpace`, or `None`.
        **kwargs: Arguments of `HyperBatchLayer` and of `keras.layers.Layer`.

    Input shape:
        Tensor `(M * batch_size, ..., A)`, member by member.

    Output shape:
        Tensor `(M * batch_size, ..., units)`.

    Raises:
        ValueError: If `units` is not a positive integer, or a coefficient is not a known hyperparameter.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
    >>> layer = khe.HyperBatchDense(8, ensemble_size=4, space=space, kernel_l2="l2", activation="relu")
    >>> with khe.hyperparameter_scope(np.full((4, 1, 1), 1e-4, "float32")):
    ...     outputs = layer(np.ones((4 * 2, 3), "float32"))
    >>> outputs.shape
    TensorShape([8, 8])

    References:
        - Wenzel et al., [Hyperparameter Ensembles](https://arxiv.org/abs/2006.13570)
        - Wen et al., [BatchEnsemble](https://arxiv.org/abs/2002.06715)
    """

    plain_layer = keras.layers.Dense
    _is_batched = True

    def __init__(self, units: int, *arguments: Any, **keywords: Any) -> None:
        if not isinstance(units, int) or units < 1:
            raise ValueError(f"`units` must be a positive integer. Received: units={units!r}")
        super().__init__(units, *arguments, **keywords)

    def _kernel_shape(self, input_shape: Shape) -> tuple[int, ...]:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"Layer {self.name!r} needs inputs with a known last axis. Received: input_shape={input_shape}"
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        return (input_shape[-1], self.plain.units)

    def _folds(self, inputs: Tensor, draw_by_row: bool) -> bool:
        return not meets_few_rows(inputs.shape[:-1], self._num_members, draw_by_row)

    def _apply_kernel(self, rows: Tensor, kernel: Tensor) -> Tensor:
        return ops.matmul(rows, kernel)

    def _apply_kernels(self, rows: Tensor, kernels: Tensor) -> Tensor:
        members = split_members(rows, self.ensemble_size)
        shape = ops.shape(members)
        flat = ops.reshape(members, (self.ensemble_size, -1, shape[-1]))  # one batched product for any rank
        return ops.reshape(ops.matmul(flat, kernels), (*shape[:-1], self.plain.units))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.plain.units)
