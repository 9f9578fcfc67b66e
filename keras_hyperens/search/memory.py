"""What TensorFlow would keep of every training for ever, and what Python would look at before every training again.

Each traced training step registers the gradients of operations like `tf.custom_gradient` under names of their own in a
table of the process, and with them its whole graph: about 8 MiB a trial for a small network.

KerasTuner collects garbage twice before every trial, and each time Python goes through every object of the libraries
that are loaded: half a million, a quarter of a second.
"""

import gc
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


@contextmanager
def frozen_garbage_collector() -> Iterator[None]:
    """Garbage collections inside look at new objects alone; what was there before is looked at again afterwards.

    Where something is frozen already, by a scope around this one or by the user, it stays so: Python cannot tell what
    was frozen by whom.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
