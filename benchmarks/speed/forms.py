"""Forms in which M kernels are applied: which one a dense layer chooses, and all there are for a convolution."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import seconds
from keras_hyperens.layers import form

M = 4
ROWS = (16, 64, 256, 1024)
SHAPES = ((64, 64), (512, 512), (2048, 512))  # A, U
LIMIT = 1.5  # times as long as the better form
SPACE = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
CONVOLUTIONS = ((64, 32, 3, 6), (64, 14, 6, 16), (32, 32, 16, 16), (32, 8, 64, 64))  # rows, size, channels, filters


def measure_dense(
    repetitions: int, shapes: tuple[tuple[int, int], ...] = SHAPES, rows: tuple[int, ...] = ROWS
) -> Iterator[Aim]:
    """A line for each shape and way to draw: the worst number of rows.

    Forward with penalties, and backward, of a `HyperBatchDense` made to fold and made not to; the note has the number
    of rows of a member from which folding is faster.
    """
    for inputs, units in shapes:
        for draws in ("member", "row"):
            times = {number: _times(inputs, units, number, draws, repetitions) for number in rows}
            worst = max(_loss(number, draws, times[number]) for number in rows)
            faster = [number for number in rows if times[number]["folded"] < times[number]["unfolded"]]
            some, none = f"folding is faster from {min(faster, default=0)} rows on", f"not folding to {max(rows)}"
            what = f"dense, {inputs} to {units}, one draw per {draws}, worst of {rows} rows"
            yield Aim("chosen form / better form", what, worst, LIMIT, note=some if faster else none)


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


def measure_convolutions(repetitions: int, shapes: tuple[tuple[int, ...], ...] = CONVOLUTIONS) -> Iterator[Aim]:
    """M 3x3 convolutions, forward and backward: the chosen form against one plain one on as many rows, and others.

    All compute the same numbers. XLA refuses the loop that `vectorized_map` falls back to.
    """
    forms = {False: (plain, split_and_loop, grouped, vectorized_map), True: (plain, split_and_loop, grouped)}
    for rows, size, channels, filters in shapes:
        x = tf.random.normal((M * rows, size, size, channels))
        kernels = tf.random.normal((M, 3, 3, channels, filters))
        steps = {
            (each.__name__, xla): _convolved(each, x, kernels, xla) for xla, found in forms.items() for each in found
        }
        medians = seconds(steps, repetitions)
        for (name, xla), duration in medians.items():
            what = f"{rows} rows, {size}x{size}, {channels} to {filters}{', XLA' if xla else ''}"
            chosen = medians["split_and_loop", xla]
            note = f"{1e3 * duration:.1f} / {1e3 * chosen:.1f} ms"
            if name == "plain":
                yield Aim("chosen convolutions / one plain", what, chosen / duration, LIMIT, note=note)
            elif name != "split_and_loop":
                yield Aim(f"{name} / chosen convolutions", what, duration / chosen, 1, False, note)


def _convolved(form: Callable[..., Any], x: Any, kernels: Any, xla: bool) -> Callable[[], Any]:
    @tf.function(jit_compile=xla)
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch((x, kernels))
            loss = tf.reduce_sum(form(x, kernels) ** 2)
        return tape.gradient(loss, (x, kernels))

    return lambda: step()[0].numpy()


def plain(x: Any, kernels: Any) -> Any:
    return tf.nn.conv2d(x, kernels[0], 1, "SAME")


def split_and_loop(x: Any, kernels: Any) -> Any:
    members = zip(tf.split(x, len(kernels)), tf.unstack(kernels))
    return tf.concat([tf.nn.conv2d(rows, kernel, 1, "SAME") for rows, kernel in members], 0)


def grouped(x: Any, kernels: Any) -> Any:
    members, channels, filters = len(kernels), x.shape[-1], kernels.shape[-1]
    rows = x.shape[0] // members
    x = tf.reshape(x, (members, rows, *x.shape[1:]))
    x = tf.reshape(tf.transpose(x, (1, 2, 3, 0, 4)), (rows, *x.shape[2:4], members * channels))
    kernel = tf.reshape(tf.transpose(kernels, (1, 2, 3, 0, 4)), (3, 3, channels, members * filters))
    y = tf.nn.conv2d(x, kernel, 1, "SAME")
    y = tf.reshape(y, (rows, *y.shape[1:3], members, filters))
    return tf.reshape(tf.transpose(y, (3, 0, 1, 2, 4)), (-1, *y.shape[1:3], filters))


def vectorized_map(x: Any, kernels: Any) -> Any:
    x = tf.reshape(x, (len(kernels), -1, *x.shape[1:]))
    y = tf.vectorized_map(lambda pair: tf.nn.conv2d(pair[0], pair[1], 1, "SAME"), (x, kernels))
    return tf.reshape(y, (-1, *y.shape[2:]))
