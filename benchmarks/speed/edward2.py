"""The reference: edward2 0.0.2, with the weights of ours, in the same process as Keras 3.

It needs legacy Keras, so `TF_USE_LEGACY_KERAS=1` must be set before TensorFlow is imported; Keras 3 does not read it.
"""

import importlib
import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import scipy.stats
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.layers import HyperBatchLayer

PACKAGES = ("edward2==0.0.2", "tenacity")  # all that TensorFlow and TensorFlow Probability do not bring
DIRECTORY = pathlib.Path("benchmark_runs") / "edward2"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1"}


def is_importable() -> bool:
    """Whether it is installed, here or in a directory of its own."""
    return importlib.util.find_spec("edward2") is not None or (DIRECTORY / "edward2").exists()


def install() -> str | None:
    """Makes edward2 importable in new processes; returns why not, if that fails."""
    if is_importable():
        return None
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(DIRECTORY), *PACKAGES]
    try:
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        return f"edward2 cannot be installed: {reason.splitlines()[-1]}"
    return None


def load() -> Any:
    """edward2, imported."""
    if os.environ.get("TF_USE_LEGACY_KERAS") != "1":
        raise RuntimeError("edward2 needs TF_USE_LEGACY_KERAS=1 before TensorFlow is imported. Received: not set")
    if importlib.util.find_spec("edward2") is None:
        sys.path.append(str(DIRECTORY))
    type(scipy.stats.dirichlet_multinomial).rvs = None  # SciPy 1.11 took it away; edward2 reads it at import
    return importlib.import_module("edward2")


class Reference:
    """A layer of edward2 that computes what one of ours does, and the embedding that it leaves to others.

    Args:
        ours: A built `HyperBatchDense` or `HyperBatchConv2D` with biases, whose penalties both are the first
            hyperparameter's.
    """

    def __init__(self, ours: HyperBatchLayer) -> None:
        layers, self.ours, self.is_conv = load().layers, ours, isinstance(ours, khe.HyperBatchConv2D)
        names = ("filters", "kernel_size", "strides", "padding") if self.is_conv else ("units",)
        self.layer = (layers.Conv2DHyperBatchEnsemble if self.is_conv else layers.DenseHyperBatchEnsemble)(
            **{name: ours.get_config()[name] for name in names},
            lambda_key_to_index={"self_l2_kernel": 0, "self_l2_bias": 0},
            ensemble_size=ours.ensemble_size,
            activation=ours.activation.__name__,
            regularize_fast_weights=ours.regularize_fast_weights,
            name="self",
        )
        embeddings = [np.asarray(each) for each in (ours.kernel_embedding, ours.bias_embedding)]
        self.embedding = tf.Variable(np.concatenate(embeddings, -1))  # [P, 2 U]

    def __call__(self, rows: Any, values: Any, positions: Any) -> Any:
        """Outputs of rows `[M*B, ...]` at values and positions `[M*B, P]`; penalties are in `layer.losses`."""
        return self.layer([rows, values, positions @ self.embedding], training=True)

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self.layer.trainable_variables, self.embedding]

    def take_weights(self) -> None:
        """Those of ours; the layer must have been called, which creates its own."""
        core = self.layer.conv2d if self.is_conv else self.layer.dense
        delta = self.layer.delta_conv2d if self.is_conv else self.layer.delta_dense
        places = {"kernel": core.kernel, "r": core.alpha, "s": core.gamma, "bias": core.ensemble_bias}
        places |= {"delta_kernel": delta.kernel, "u": delta.alpha, "v": delta.gamma, "delta_bias": self.layer.bias}
        for name, variable in places.items():
            variable.assign(np.asarray(getattr(self.ours, name)))


def of_rows(drawn: Any, rows: int) -> Any:
    """`[M, 1 or B, P]` as the reference takes it: a line for each of `rows` rows, `[M*B, P]`."""
    members, draws, columns = drawn.shape
    repeated = tf.repeat(drawn, rows // members, axis=1) if draws == 1 else drawn
    return tf.reshape(repeated, (rows, columns))


class Network:
    """The sequential network of an ensemble, in layers of edward2, and what its scripts do around them."""

    def __init__(self, ensemble: khe.HyperBatchEnsemble, sampling: str) -> None:
        self.members, self.space, self.sampling = ensemble.ensemble_size, ensemble.space, sampling
        self.layers = [self._layer_of(layer) for layer in ensemble.network.layers]
        self.references = [layer for layer in self.layers if isinstance(layer, Reference)]
        self.optimizer = tf.keras.optimizers.Adam()

    def _layer_of(self, layer: keras.layers.Layer) -> Any:
        if isinstance(layer, HyperBatchLayer):
            return Reference(layer)
        if isinstance(layer, khe.HyperDropout):
            return tf.keras.layers.Dropout(layer.rate)
        return getattr(tf.keras.layers, type(layer).__name__)()  # pooling and flattening have no arguments here

    def draw(self, rows: int) -> tuple[Any, Any]:
        """Values and positions `[M*B, 1]`, uniform on the logarithmic scale."""
        positions = tf.random.uniform((self.members, rows if self.sampling == "example" else 1, 1), -1 / 3, 1 / 3)
        return tuple(of_rows(drawn, self.members * rows) for drawn in (self.space.values(positions), positions))

    def outputs(self, x: Any, values: Any, positions: Any, training: bool) -> Any:
        rows = tf.tile(x, [self.members] + [1] * (len(x.shape) - 1))
        for layer in self.layers:
            is_reference = isinstance(layer, Reference)
            rows = layer(rows, values, positions) if is_reference else layer(rows, training=training)
        return rows  # [M*B, C]

    @tf.function
    def step(self, x: Any, y: Any) -> Any:
        """Forward, backward and Adam."""
        variables = [variable for layer in self.references for variable in layer.variables]
        with tf.GradientTape() as tape:
            outputs = self.outputs(x, *self.draw(x.shape[0]), training=True)
            errors = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.tile(y, [self.members]), outputs)
            penalties = [penalty for layer in self.references for penalty in layer.layer.losses]
            loss = tf.reduce_mean(errors) + tf.add_n(penalties)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss
