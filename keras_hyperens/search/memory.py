"""What TensorFlow would keep of every training for ever.

Each traced training step registers the gradients of operations like `tf.custom_gradient` under names of their own in a
table of the process, and with them its whole graph: about 8 MiB a trial for a small network.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tensorflow.python.framework import ops

PREFIX = "CustomGradient-"


@contextmanager
def forgotten_gradients() -> Iterator[None]:
    """Takes from the table what is registered inside. No model that was trained inside must be trained outside."""
    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name not in before and name.startswith(PREFIX)]:
            del registry[name]
