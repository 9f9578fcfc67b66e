"""The networks of the comparison: ordinary Keras models, each from one `build_model(hp)` that gives every method.

Each group of layers has an L2 strength of its own, as in the paper; the small networks have dropout too, the residual
ones normalize instead. Label smoothing belongs to the loss, and so to all of them.
"""

from collections.abc import Callable
from functools import partial

import keras
import keras_tuner

from benchmarks import networks
from benchmarks.data import Data
from benchmarks.experiment import Hypermodel
from benchmarks.experiment import Schedule

Network = Callable[[keras_tuner.HyperParameters, tuple[int, ...], int], keras.Model]  # of the shape and classes


def hypermodel_of(network: str, data: Data, schedule: Schedule) -> Hypermodel:
    """The hypermodel of a network for labels in one-hot form, which a loss with label smoothing needs."""

    def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
        model = NETWORKS[network](hp, data.image_shape, data.num_classes)
        smoothing = hp.Float("label_smoothing", 0.0, 0.2, default=0.05)
        model.compile(
            schedule.optimizer(len(data.train[1])),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing),
            metrics=[keras.metrics.CategoricalCrossentropy(from_logits=True, name="nll")],
        )
        return model

    return build_model


def mlp(hp: keras_tuner.HyperParameters, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Two hidden layers of 200 units, with dropout."""
    dropout = _dropout(hp)
    layers = [keras.Input(image_shape), keras.layers.Flatten()]
    for group in ("input", "hidden"):
        layers += [keras.layers.Dense(200, "relu", kernel_regularizer=_l2(hp, group)), keras.layers.Dropout(dropout)]
    return keras.Sequential([*layers, keras.layers.Dense(num_classes, kernel_regularizer=_l2(hp, "output"))])


def convolutional(
    network: Callable[..., keras.Model],
    hp: keras_tuner.HyperParameters,
    image_shape: tuple[int, ...],
    num_classes: int,
) -> keras.Model:
    """A network of the other benchmarks, with an L2 strength for each group of its layers."""
    strengths = {group: _strength(hp, group) for group in networks.GROUPS}
    return network(strengths, _dropout(hp), image_shape, num_classes)


def resnet20(hp: keras_tuner.HyperParameters, image_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """ResNet-20, version 1: three stages of three blocks, 16, 32 and 64 filters.

    References:
        - He et al., [Deep Residual Learning](https://arxiv.org/abs/1512.03385), section 4.2
    """
    inputs = keras.Input(image_shape)
    rows = _activated(_conv(16, 3, _l2(hp, "input"))(inputs))
    for stage, filters in enumerate((16, 32, 64), 1):
        penalty = _l2(hp, f"group_{stage}")
        for block in range(3):
            rows = _block_after(rows, filters, 2 if stage > 1 and block == 0 else 1, penalty)
    return _classified(inputs, rows, num_classes, hp)


def wide_resnet(
    hp: keras_tuner.HyperParameters, image_shape: tuple[int, ...], num_classes: int, depth: int = 28, width: int = 10
) -> keras.Model:
    """A wide residual network, WRN-28-10 as in the paper: normalization and activation before each convolution.

    References:
        - Zagoruyko and Komodakis, [Wide Residual Networks](https://arxiv.org/abs/1605.07146)
    """
    inputs = keras.Input(image_shape)
    rows = _conv(16, 3, _l2(hp, "input"))(inputs)
    for stage, filters in enumerate((16 * width, 32 * width, 64 * width), 1):
        penalty = _l2(hp, f"group_{stage}")
        for block in range((depth - 4) // 6):
            rows = _block_before(rows, filters, 2 if stage > 1 and block == 0 else 1, penalty)
    return _classified(inputs, _activated(rows), num_classes, hp)


NETWORKS: dict[str, Network] = {
    "mlp": mlp,
    "conv": partial(convolutional, networks.small_conv),
    "lenet": partial(convolutional, networks.lenet),
    "resnet20": resnet20,
    "wrn28-10": wide_resnet,
}
SMALL = ("mlp", "conv", "lenet")  # several of them fit into one graph, and are faster so


def _strength(hp: keras_tuner.HyperParameters, group: str) -> float:
    return hp.Float(f"l2_{group}", 1e-5, 1e-2, sampling="log", default=3e-4)


def _l2(hp: keras_tuner.HyperParameters, group: str) -> keras.Regularizer:
    return keras.regularizers.L2(_strength(hp, group))


def _dropout(hp: keras_tuner.HyperParameters) -> float:
    return hp.Float("dropout", 0.0, 0.5, default=0.2)


def _conv(filters: int, size: int, penalty: keras.Regularizer, strides: int = 1) -> keras.layers.Layer:
    settings = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    return keras.layers.Conv2D(filters, size, strides, kernel_regularizer=penalty, **settings)


def _activated(rows: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(rows))


def _block_after(rows: keras.KerasTensor, filters: int, strides: int, penalty: keras.Regularizer) -> keras.KerasTensor:
    """A residual block that is activated after its sum."""
    inner = _activated(_conv(filters, 3, penalty, strides)(rows))
    inner = keras.layers.BatchNormalization()(_conv(filters, 3, penalty)(inner))
    if strides > 1:
        rows = keras.layers.BatchNormalization()(_conv(filters, 1, penalty, strides)(rows))
    return keras.layers.ReLU()(keras.layers.add([rows, inner]))


def _block_before(rows: keras.KerasTensor, filters: int, strides: int, penalty: keras.Regularizer) -> keras.KerasTensor:
    """A residual block whose convolutions see normalized and activated inputs."""
    inner = _conv(filters, 3, penalty, strides)(_activated(rows))
    inner = _conv(filters, 3, penalty)(_activated(inner))
    if strides > 1 or rows.shape[-1] != filters:
        rows = _conv(filters, 1, penalty, strides)(rows)
    return keras.layers.add([rows, inner])


def _classified(
    inputs: keras.KerasTensor, rows: keras.KerasTensor, num_classes: int, hp: keras_tuner.HyperParameters
) -> keras.Model:
    rows = keras.layers.GlobalAveragePooling2D()(rows)
    return keras.Model(inputs, keras.layers.Dense(num_classes, kernel_regularizer=_l2(hp, "output"))(rows))
