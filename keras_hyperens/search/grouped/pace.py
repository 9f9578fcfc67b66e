"""Duration of a training run, measured on the actual data, and its number of steps."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hyperens.models.data import batches

STEPS = 4  # per turn; the first one is not counted
TURNS = 3
FEW = 2  # samples


@dataclass(frozen=True)
class Pace:
    """Duration of a training run in seconds: at the beginning (tracing), and per step."""

    begin: float
    step: float

    def of(self, steps: int | None) -> float:
        """Returns the seconds of these steps after the beginning, or of one step if their number is unknown."""
        return self.step if steps is None else self.begin + steps * self.step


def paces(models: Sequence[keras.Model], arguments: dict[str, Any]) -> list[Pace] | None:
    """Returns the pace of each model on the actual data; `None` if there are too few. Trains the models briefly.

    The models take turns, so that other processes slow all of them down equally.
    """
    without = ("validation_data", "validation_split", "callbacks", "epochs")
    arguments = {name: value for name, value in arguments.items() if name not in without}
    taken: list[list[float]] = [[] for _ in models]
    begins: list[float] = []
    for turn in range(1 + TURNS):
        for model, found in zip(models, taken, strict=True):
            clock, start = _Clock(), time.perf_counter()
            model.fit(**arguments, epochs=1, callbacks=[clock])
            if turn:
                found += list(np.diff(clock.times))
            else:
                begins.append(clock.times[0] - start)
    if not all(taken):
        return None
    return [Pace(begin, float(np.median(found))) for begin, found in zip(begins, taken, strict=True)]


class _Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.times.append(time.perf_counter())
        if len(self.times) == STEPS:
            self.model.stop_training = True


def number_of_steps(arguments: dict[str, Any]) -> int | None:
    """Returns the total number of training steps; `None` if unknown."""
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
    """Returns a few samples of the training data: `(x, y, sample_weight)`."""
    x, y, weights = arguments["x"], arguments.get("y"), arguments.get("sample_weight")
    if y is None:
        x, y, weights = next(batches(x, "x"))
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[:FEW], (x, y, weights))
