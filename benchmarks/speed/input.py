"""Tuning rows from `tf.data`: each is decoded once, and steps that do not tune pay nothing for them."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.speed.aim import Aim
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled
from benchmarks.speed.steps import prepared
from benchmarks.speed.steps import step_of
from benchmarks.speed.timing import seconds

M, B = 4, 32
ROWS = 2_000  # to tune on
NEVER = 10**9  # steps from one tuning step to the next
SLOWER = 1.05


class Decoder:
    """Rows as a dataset that counts how many were decoded."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.decoded = 0
        self.dataset = tf.data.Dataset.from_tensor_slices((x, y)).map(self._decode).batch(B)

    def _decode(self, x: Any, y: Any) -> tuple[Any, Any]:
        decoded = tf.numpy_function(self._count, [x], tf.float32)
        return tf.ensure_shape(decoded, x.shape), y

    def _count(self, x: np.ndarray) -> np.ndarray:
        self.decoded += 1
        return x


def measure(repetitions: int, networks: tuple[str, ...] = ("MLP", "LeNet"), rows: int = ROWS) -> Iterator[Aim]:
    """For each network the time of a step that does not tune, and how often a row was decoded in all steps."""
    for name in networks:
        decoder = Decoder(*arrays(name, rows))
        steps = {"with": _step(name, decoder.dataset), "without": _step(name, None)}
        medians = seconds(steps, 3 * repetitions, calls=3)  # the aim is a matter of hundredths
        note = f"{1e3 * medians['with']:.1f} / {1e3 * medians['without']:.1f} ms"
        ratio = medians["with"] / medians["without"]
        yield Aim("step with tuning rows / without", f"{name}, a step that does not tune", ratio, SLOWER, note=note)
        note = f"{decoder.decoded} / {rows}"
        yield Aim("times a tuning row is decoded", f"{name}, in all steps", decoder.decoded / rows, 1, note=note)
        keras.backend.clear_session()


def _step(name: str, tuning_data: Any) -> Callable[[], Any]:
    """A step of an ensemble that has tuned once, or never."""
    data = arrays(name, B)
    return step_of(prepared(compiled(name, M, tuning_every=NEVER), data, tuning_data), data)
