"""How long a training step takes, on the real data, and what a step is made of."""

import time
from typing import Any

import keras
import numpy as np

from keras_hyperens.models.batches import batches

WARM_UP, TIMED = 3, 9  # steps
FEW = 2  # rows


def step_seconds(model: keras.Model, arguments: dict[str, Any]) -> float | None:
    """The median time of a step of `fit`; `None` if the data end before it is known. Trains the model a little."""
    clock = _Clock()
    without = ("validation_data", "validation_split", "callbacks", "epochs")
    arguments = {name: value for name, value in arguments.items() if name not in without}
    model.fit(**arguments, epochs=1, callbacks=[clock])
    taken = np.diff(clock.times)[WARM_UP - 1 :]
    return float(np.median(taken)) if len(taken) else None


class _Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.times.append(time.perf_counter())
        if len(self.times) == WARM_UP + TIMED:
            self.model.stop_training = True


def number_of_steps(arguments: dict[str, Any]) -> int | None:
    """Of the whole training; `None` if that is not known beforehand."""
    steps, x = arguments.get("steps_per_epoch"), arguments["x"]
    if steps is None and isinstance(x, keras.utils.PyDataset):
        steps = x.num_batches
    elif steps is None and hasattr(x, "cardinality"):
        cardinality = int(x.cardinality())
        steps = cardinality if cardinality >= 0 else None
    elif steps is None and hasattr(keras.tree.flatten(x)[0], "shape"):
        steps = -(-len(keras.tree.flatten(x)[0]) // (arguments.get("batch_size") or 32))
    return None if steps is None else steps * arguments.get("epochs", 1)


def first_rows(arguments: dict[str, Any]) -> tuple[Any, Any, Any]:
    """A few rows of the training data: `(x, y, sample_weight)`."""
    x, y, weights = arguments["x"], arguments.get("y"), arguments.get("sample_weight")
    if y is None:
        x, y, weights = next(batches(x, "x"))
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else leaf[:FEW], (x, y, weights), none_is_leaf=False
    )
