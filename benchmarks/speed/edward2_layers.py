"""The reference's hyper-batch layers with the weights of ours: edward2 0.0.2, in the same process as Keras 3.

It needs legacy Keras, so `TF_USE_LEGACY_KERAS=1` must be set before TensorFlow is imported; Keras 3 does not read it.
"""

import importlib
import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import scipy.stats
import tensorflow as tf

from keras_hyperens.layers import HyperBatchConv2D
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
        layers, self.ours = load().layers, ours
        is_conv = isinstance(ours, HyperBatchConv2D)
        names = ("filters", "kernel_size", "strides", "padding") if is_conv else ("units",)
        self.layer = (layers.Conv2DHyperBatchEnsemble if is_conv else layers.DenseHyperBatchEnsemble)(
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
        is_conv = isinstance(self.ours, HyperBatchConv2D)
        core = self.layer.conv2d if is_conv else self.layer.dense
        delta = self.layer.delta_conv2d if is_conv else self.layer.delta_dense
        places = {"kernel": core.kernel, "r": core.alpha, "s": core.gamma, "bias": core.ensemble_bias}
        places |= {"delta_kernel": delta.kernel, "u": delta.alpha, "v": delta.gamma, "delta_bias": self.layer.bias}
        for name, variable in places.items():
            variable.assign(np.asarray(getattr(self.ours, name)))


def of_rows(drawn: Any, rows: int) -> Any:
    """`[M, 1 or B, P]` as the reference takes it: a line for each of `rows` rows, `[M*B, P]`."""
    members, draws, columns = drawn.shape
    repeated = tf.repeat(drawn, rows // members, axis=1) if draws == 1 else drawn
    return tf.reshape(repeated, (rows, columns))
