"""What another process, in which this package cannot be imported, makes of an export."""

import subprocess
import sys

import numpy as np

PREDICT = """
import sys
sys.modules["keras_hyperens"] = None  # an import of the package fails
import numpy as np
import tensorflow as tf
x_file, p_file, path = sys.argv[1:]
served = tf.saved_model.load(path)
np.save(p_file, served.signatures["serving_default"](inputs=tf.constant(np.load(x_file)))["prediction"].numpy())
"""


def predicted_elsewhere(ensemble, x, directory):
    ensemble.export(directory / "served")
    return predicted_by(PREDICT, x, directory, "served")


def predicted_by(program, x, directory, *arguments):
    """What a program writes for rows: it gets a file of these, one for its predictions, and the arguments."""
    np.save(directory / "x.npy", x)
    run([sys.executable, "-c", program, "x.npy", "p.npy", *arguments], directory)
    return np.load(directory / "p.npy")


def run(command, directory):
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
