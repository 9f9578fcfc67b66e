"""The layers are written in `keras.ops` alone: the same numbers on another backend."""

import os
import subprocess
import sys

import keras
import numpy as np

import keras_hyperens as khe
from tests.layers.contract import B
from tests.layers.contract import M
from tests.layers.contract import draw
from tests.layers.contract import members

ELSEWHERE = """
import sys
sys.modules["tensorflow_probability"] = None
import keras
import numpy as np
import keras_hyperens as khe
assert keras.backend.backend() == "numpy"
data = np.load(sys.argv[1], allow_pickle=True)
layer = khe.HyperBatchDense.from_config(data["config"].item())
layer.build((None, 4))
layer.set_weights(list(data["weights"]))
with khe.hyperparameter_scope(data["values"]):
    np.save(sys.argv[2], layer(data["rows"]))
"""


def test_numpy_backend(tmp_path):
    layer = khe.HyperBatchDense(5, kernel_l2="l2", activation="tanh", **members())
    rows = np.random.default_rng(0).normal(size=(M * B, 4)).astype("float32")
    for draws in (1, B):
        values = draw(draws)
        with khe.hyperparameter_scope(values):
            expected = keras.ops.convert_to_numpy(layer(rows))
        weights = np.array([*layer.get_weights(), None], dtype=object)[:-1]
        np.savez(tmp_path / "in.npz", config=layer.get_config(), weights=weights, values=values, rows=rows)
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE, str(tmp_path / "in.npz"), str(tmp_path / "out.npy")],
            check=True,
            env={**os.environ, "KERAS_BACKEND": "numpy"},
        )
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-4, atol=1e-5)
