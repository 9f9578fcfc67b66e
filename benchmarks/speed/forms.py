"""Which form of a dense layer is chosen: never much slower than the better one, whatever the number of rows.

Forward with penalties, and backward, of a `HyperBatchDense` made to fold and made not to; the note has the number of
rows of a member from which folding is faster.
"""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from benchmarks.speed.aim import Aim
from benchmarks.speed.timing import seconds
from keras_hyperens.layers import form

M = 4
ROWS = (16, 64, 256, 1024)
SHAPES = ((64, 64), (512, 512), (2048, 512))  # A, U
LIMIT = 1.5  # times as long as the better form
SPACE = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])


def measure(
    repetitions: int, shapes: tuple[tuple[int, int], ...] = SHAPES, rows: tuple[int, ...] = ROWS
) -> Iterator[Aim]:
    """A line for each shape and way to draw: the worst number of rows."""
    for inputs, units in shapes:
        for draws in ("member", "row"):
            times = {number: _times(inputs, units, number, draws, repetitions) for number in rows}
            worst = max(times, key=lambda number, times=times: _loss(number, draws, times[number]))
            faster = [number for number in rows if times[number]["folded"] < times[number]["unfolded"]]
            note = (
                f"folding is faster from {min(faster)} rows on" if faster else f"not folding is faster to {max(rows)}"
            )
            what = f"dense, {inputs} to {units}, one draw per {draws}, worst of {rows} rows"
            yield Aim("chosen form / better form", what, _loss(worst, draws, times[worst]), LIMIT, note=note)


def _loss(number: int, draws: str, times: dict[str, float]) -> float:
    few = form.meets_few_rows((M * number,), M, draws == "row")
    return times["unfolded" if few else "folded"] / min(times.values())


def _times(inputs: int, units: int, number: int, draws: str, repetitions: int) -> dict[str, float]:
    layer = khe.HyperBatchDense(units, ensemble_size=M, space=SPACE, kernel_l2="l2", activation="relu")
    layer.build((None, inputs))
    rows = tf.constant(np.random.default_rng(0).normal(size=(M * number, inputs)).astype("float32"))
    values = tf.fill((M, number if draws == "row" else 1, 1), 1e-4)
    steps = {name: _step(layer, rows, values, limit) for name, limit in (("folded", 0), ("unfolded", 10**9))}
    return seconds(steps, repetitions, calls=3)


def _step(layer: Any, rows: Any, values: Any, limit: int) -> Callable[[], Any]:
    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape, khe.hyperparameter_scope(values):
            tape.watch(rows)
            loss = tf.reduce_sum(tf.square(layer(rows, training=True))) + sum(layer.losses)
        return tape.gradient(loss, [rows, *(weight.value for weight in layer.trainable_variables)])

    with mock.patch.multiple(form, FEW_ROWS=limit, FEW_ROWS_WITH_DRAWS=limit):
        step.get_concrete_function()
    return lambda: [each.numpy() for each in step()]
