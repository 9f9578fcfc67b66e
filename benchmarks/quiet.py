"""Import this first in a program: TensorFlow then starts without a word.

TensorFlow 2.21 logs to the process's standard error before it reads any log level, so while it is imported the
descriptor itself points elsewhere. Python's own errors are not affected: they come as exceptions.
"""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_standard_error = os.dup(2)
_nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
try:
    with warnings.catch_warnings(action="ignore"):
        import tensorflow as tf
        import tensorflow_probability  # noqa: F401
finally:
    os.dup2(_standard_error, 2)
    os.close(_standard_error)
    os.close(_nowhere)

tf.get_logger().setLevel("ERROR")
