"""Loss of a trained hyper-batch ensemble at other hyperparameter values, without training."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import losses
from keras_hyperens import masks
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.models.data import labels
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class ResponseCurve(NamedTuple):
    """Loss over the range of one hyperparameter."""

    values: np.ndarray  # [G], natural scale
    losses: np.ndarray  # [G], of the combined prediction
    members: np.ndarray  # [M, G], of each member


def response_curves(
    ensemble: keras.Model, x: Any, y: Any, points: int, batch_size: int, verbose: int
) -> dict[str, ResponseCurve]:
    """See `HyperBatchEnsemble.response_curves`."""
    space = ensemble.space
    if not len(space) or not ensemble.compiled or points < 2:
        raise ValueError(
            "Response curves require hyperparameters, a compiled loss and at least two points. Received: "
            f"{len(space)} hyperparameters, compiled={ensemble.compiled}, points={points}"
        )
    grid = ops.convert_to_numpy(space.values(np.repeat(np.linspace(-1, 1, points)[:, None], len(space), 1)))  # [G, P]
    values = ops.convert_to_numpy(ensemble._members.values())  # [M, 1, P]
    progress = keras.utils.Progbar(points * len(space), verbose=verbose, unit_name="point")
    rows = tf.data.Dataset.from_tensor_slices((x, labels(y))).batch(batch_size)
    losses_of = tf.function(  # as Keras traces `evaluate`
        lambda values, x, y: _losses(ensemble, values, x, y), reduce_retracing=True, autograph=False
    )
    curves = {}
    for column, name in enumerate(space.names):
        measured = []
        for value in grid[:, column]:
            there = values.copy()
            there[..., column] = value
            measured.append(_mean_over(rows, losses_of, tf.constant(there)))
            progress.add(1)
        by_point = np.stack(measured)  # [G, 1 + M]
        curves[name] = ResponseCurve(grid[:, column], by_point[:, 0], by_point[:, 1:].T)
    return curves


def _losses(ensemble: keras.Model, values: Tensor, x: TensorTree, y: TensorTree) -> Tensor:
    """Returns the losses of the combined prediction and of each member, `[1 + M]`, without penalties."""
    with hyperparameter_scope(values, ensemble._members.centers()):
        outputs = ensemble._member_outputs(x, training=False)

    def objective(raw: TensorTree) -> Tensor:
        return ensemble._trainer.tuning.objective(x, y, raw)

    each = [objective(masks.member(outputs, k)) for k in range(len(ensemble._members.living))]
    return tf.stack([losses.ensemble_loss(objective, outputs, ensemble.likelihoods_of(outputs)), *each])


def _mean_over(rows: tf.data.Dataset, losses_of: Callable[..., tf.Tensor], values: tf.Tensor) -> np.ndarray:
    batches = [(len(keras.tree.flatten(x)[0]), losses_of(values, x, y).numpy()) for x, y in rows]
    sizes, means = zip(*batches, strict=True)
    return np.average(means, axis=0, weights=sizes)
