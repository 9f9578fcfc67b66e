"""What another process, in which this package cannot be imported, makes of an export."""

import subprocess
import sys

import numpy as np

PREDICT = """
import sys
sys.modules["keras_hyperens"] = None  # an import of the package fails
import numpy as np
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], served.signatures["serving_default"](inputs=tf.constant(x))["prediction"].numpy())
"""


def predicted_elsewhere(ensemble, x, directory):
    ensemble.export(directory / "served")
    np.save(directory / "x.npy", x)
    paths = [str(directory / name) for name in ("served", "x.npy", "p.npy")]
    subprocess.run([sys.executable, "-c", PREDICT, *paths], check=True, capture_output=True, cwd=directory)
    return np.load(directory / "p.npy")
