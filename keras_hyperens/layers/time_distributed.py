"""Wrapper that applies a layer of members to every time step."""

import keras
from keras import ops

from keras_hyperens.hyperparameters import current_hyperparameters
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.hyperparameters.scope import current_centers
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchTimeDistributed(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` for a layer of members.

    Batch and time axes are merged to one axis, which stays member-major: the inner layer runs once for all time steps.

    Args:
        layer: A layer of members.
        **keywords: As in `keras.layers.TimeDistributed`.

    Input shape:
        Tensor `(M * batch_size, time, ...)`, member by member.

    Output shape:
        Tensor `(M * batch_size, time, ...)`.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchTimeDistributed(khe.HyperBatchConv2D(6, 3, ensemble_size=4))
    >>> layer(np.ones((4 * 2, 7, 5, 5, 3), "float32")).shape
    TensorShape([8, 7, 3, 3, 6])
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        rows, times = ops.shape(inputs)[:2]
        keywords = {"training": training} if self.layer._call_has_training_arg else {}
        if mask is not None and self.layer._call_has_mask_arg:
            keywords["mask"] = ops.reshape(mask, (-1, *ops.shape(mask)[2:]))
        flat = ops.reshape(inputs, (-1, *ops.shape(inputs)[2:]))
        values = current_hyperparameters()
        if values is not None and values.shape[1] != 1:  # one draw per sample, repeated for its time steps
            with hyperparameter_scope(ops.repeat(values, times, axis=1), current_centers()):
                outputs = self.layer(flat, **keywords)
        else:
            outputs = self.layer(flat, **keywords)
        return ops.reshape(outputs, (rows, times, *ops.shape(outputs)[1:]))
