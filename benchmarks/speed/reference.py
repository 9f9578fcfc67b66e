"""Against the reference: edward2's hyper-batch layers, with our weights, on the same rows, in one process.

Forward, penalties of kernel and bias (without rank-1 factors), and backward for weights, embedding and rows; and whole
steps of LeNet without tuning. edward2 has one form for all: it computes a draw for every row, also where rows of a
member share one. Before anything is timed, outputs and penalties are compared.
"""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from benchmarks.processes import in_new_process
from benchmarks.speed import edward2
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import seconds
from keras_hyperens.layers import HyperBatchLayer

M, B = 4, 32
LIMITS = {"member": 2.5, "example": 1.2}
SPACE = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
Shape = tuple[tuple[int, ...], int, int]  # of a row; units or filters; size of the kernel, 0 for a dense layer
SHAPES: dict[str, Shape] = {
    "dense, 512 to 512": ((512,), 512, 0),
    "dense, 128 to 64": ((128,), 64, 0),
    "convolution 3x3, 16 to 32 on 32x32": ((32, 32, 16), 32, 3),
    "convolution 3x3, 64 to 64 on 8x8": ((8, 8, 64), 64, 3),
    "convolution 5x5, 6 to 16 on 14x14": ((14, 14, 6), 16, 5),
}
IMAGE, CLASSES = (32, 32, 3), 10
Steps = dict[str, Callable[[], Any]]  # of ours and of theirs


def measure(repetitions: int, shapes: dict[str, Shape] = SHAPES, with_lenet: bool = True) -> Iterator[Aim]:
    """A line for each layer and way to draw, and for a whole step of LeNet; none if edward2 cannot be installed."""
    reason = edward2.install()
    if reason is not None:
        print(f"against the reference: left out, {reason}", flush=True)
        return
    lines = in_new_process(_lines, repetitions, shapes, with_lenet, environment=edward2.ENVIRONMENT)
    for what, sampling, ours, theirs in lines:
        note = f"{1e3 * theirs:.1f} / {1e3 * ours:.1f} ms"
        yield Aim("edward2 / ours", f"{what}, one draw per {sampling}", theirs / ours, LIMITS[sampling], False, note)


def _lines(repetitions: int, shapes: dict[str, Shape], with_lenet: bool) -> list[tuple[str, str, float, float]]:
    cases = {(name, sampling): _layer_steps(shape, sampling) for name, shape in shapes.items() for sampling in LIMITS}
    if with_lenet:
        cases |= {("step of LeNet", sampling): _lenet_steps(sampling) for sampling in LIMITS}
    lines = []
    for (what, sampling), functions in cases.items():
        medians = seconds(functions, repetitions, calls=3)
        lines.append((what, sampling, medians["ours"], medians["theirs"]))
    return lines


def _layer_steps(shape: Shape, sampling: str) -> Steps:
    row, units, size = shape
    generator = np.random.default_rng(0)
    rows = tf.constant(generator.normal(size=(M * B, *row)).astype("float32"))
    positions = generator.uniform(-1, 1, (M, B if sampling == "example" else 1, 1)).astype("float32")
    ours = _ours(row, units, size)
    theirs = edward2.Reference(ours)
    values = np.asarray(SPACE.values(positions))
    of_ours = _gradients(lambda rows: _called(ours, rows, values), [each.value for each in ours.trainable_variables])
    lines = [edward2.of_rows(tf.constant(drawn), M * B) for drawn in (values, positions)]
    theirs(rows, *lines)
    theirs.take_weights()
    of_theirs = _gradients(lambda rows: (theirs(rows, *lines), theirs.layer.losses), theirs.variables)
    for left, right in zip(of_ours(rows)[:2], of_theirs(rows)[:2], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3)
    return {"ours": lambda: _finished(of_ours(rows)[1:]), "theirs": lambda: _finished(of_theirs(rows)[1:])}


def _ours(row: tuple[int, ...], units: int, size: int) -> HyperBatchLayer:
    arguments: dict[str, Any] = {"ensemble_size": M, "space": SPACE, "kernel_l2": "l2", "bias_l2": "l2"}
    arguments |= {"activation": "relu", "delta_kernel_initializer": keras.initializers.GlorotUniform(0)}
    conv = khe.HyperBatchConv2D(units, size, padding="same", **arguments) if size else None
    layer = conv or khe.HyperBatchDense(units, **arguments)
    layer.build((None, *row))
    return layer


def _called(layer: HyperBatchLayer, rows: Any, values: Any) -> tuple[Any, list[Any]]:
    with khe.hyperparameter_scope(values):
        return layer(rows, training=True), layer.losses


def _gradients(call: Callable[[Any], tuple[Any, list[Any]]], variables: list[tf.Variable]) -> Callable[[Any], Any]:
    """A function of rows: outputs, penalty, and gradients for the variables and the rows."""

    @tf.function
    def step(rows: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            outputs, penalties = call(rows)
            penalty = tf.add_n(penalties)
            loss = tf.reduce_sum(tf.square(outputs)) + penalty
        return outputs, penalty, tape.gradient(loss, [*variables, rows])

    return step


def _finished(results: Any) -> Any:
    return tf.nest.map_structure(np.asarray, results)


def _lenet_steps(sampling: str) -> Steps:
    """A step of ours and one written by hand around edward2's layers, on the same rows and from the same weights."""
    generator = np.random.default_rng(0)
    x = tf.constant(generator.normal(size=(B, *IMAGE)).astype("float32"))
    y = tf.constant(generator.integers(0, CLASSES, B))
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(_build_lenet, ensemble_size=M, seed=0)
    ensemble.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), sampling=sampling)
    ensemble._trainer.build(tf.TensorSpec((None, *IMAGE)))
    theirs = edward2.Network(ensemble, sampling)
    values, positions = theirs.draw(B)
    theirs.outputs(x, values, positions, training=False)  # creates their weights
    for layer in theirs.references:
        layer.take_weights()
    with khe.hyperparameter_scope(tf.reshape(values, (M, B, -1))):
        expected = ensemble._member_outputs(x, training=False)  # [M, B, C]
    outputs = theirs.outputs(x, values, positions, training=False)
    np.testing.assert_allclose(tf.reshape(outputs, expected.shape), expected, rtol=1e-3, atol=1e-3)
    ours = tf.function(lambda: ensemble.train_step((x, y)))
    return {"ours": lambda: _finished(ours()), "theirs": lambda: np.asarray(theirs.step(x, y))}


def _build_lenet(hp: Any) -> keras.Model:
    """LeNet, whose penalty is open; the dropout is not, because edward2 has no layer for it."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    penalties = {"kernel_regularizer": l2, "bias_regularizer": l2}
    layers = [keras.Input(IMAGE)]
    for filters, padding in ((6, "same"), (16, "valid")):
        conv = keras.layers.Conv2D(filters, 5, padding=padding, activation="relu", **penalties)
        layers += [conv, keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.2)]
    for units in (120, 84):
        layers += [keras.layers.Dense(units, "relu", **penalties), keras.layers.Dropout(0.2)]
    return keras.Sequential([*layers, keras.layers.Dense(CLASSES, **penalties)])
