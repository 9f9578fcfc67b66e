"""Weights, the state of a training, sizes of exports and candidates, bytes that replicas add up: counted."""

import math
import pathlib
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.processes import in_new_process
from benchmarks.scale import costs
from benchmarks.scale.costs import Layer
from benchmarks.scale.point import Point
from benchmarks.speed.networks import CLASSES
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled
from benchmarks.speed.networks import hypermodel
from keras_hyperens import HyperDeepEnsembleBuilder

M, P = 4, 2
ROWS = 8  # of a step on replicas


def measure_weights(networks: tuple[str, ...] = ("MLP", "LeNet", "ResNet-8")) -> Iterator[Point]:
    """For each network its weights; for the last the optimizer's state and both exports."""
    for name in networks:
        plain, ensemble = compiled(name, 0), compiled(name, M)
        layers, others = layers_of(plain)
        weights = costs.hyper_batch_weights(layers, others, M, P)
        what = f"weights, hyper-batch {name}, M = {M}, P = {P}"
        yield Point(what, "others + Σ (2 kernel + M (2A + 4U) + 2PU)", weights, weights_of(ensemble), "numbers")
    trained = sum(math.prod(variable.shape) for variable in ensemble.trainable_variables)
    ensemble._trainer.build_optimizers()
    kept = ensemble.trainable_variables + ensemble.optimizer.variables
    size = costs.FLOAT * sum(math.prod(variable.shape) for variable in kept)
    what, formula = f"state of a training, {name}, Adam", "4 · 3 · trained weights"
    yield Point(what, formula, costs.training_state_bytes(trained), size, "bytes")
    ensemble.predict(arrays(name, 2)[0], verbose=0)
    for folded, formula, expected in (
        (True, "4 (others + M Σ (kernel + U))", costs.folded_bytes(layers, others, M)),
        (False, "4 · weights", costs.FLOAT * weights),
    ):
        what = f"variables of an export, {name}, {'folded' if folded else 'shared kernels'}"
        yield Point(what, formula, expected, exported_bytes(ensemble, folded), "bytes")
    keras.backend.clear_session()


def layers_of(model: keras.Model) -> tuple[list[Layer], int]:
    """The layers with a kernel of a plain model of dense and convolutional layers, and its weights outside them."""
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)]
    layers = [Layer(math.prod(each.kernel.shape), *each.kernel.shape[-2:], each.use_bias) for each in kernels]
    return layers, weights_of(model) - sum(layer.weights for layer in layers)


def weights_of(model: keras.Model) -> int:
    """Of layers: states of random generators and the bounds of distributions are left out."""
    return sum(math.prod(weight.shape) for weight in getattr(model, "network", model).weights)


def exported_bytes(ensemble: keras.Model, folded: bool) -> int:
    with tempfile.TemporaryDirectory() as name:
        ensemble.export(pathlib.Path(name) / "served", folded=folded)
        return sum(file.stat().st_size for file in pathlib.Path(name).glob("served/variables/variables.data-*"))


def measure_disk(name: str = "LeNet", rows: int = 2_000) -> Iterator[Point]:
    """What one candidate of a search leaves on disk."""
    settings = {"ensemble_size": 1, "max_trials": 1, "initializations": 0, "seed": 0}
    with tempfile.TemporaryDirectory() as directory:
        builder = HyperDeepEnsembleBuilder(hypermodel(name), directory=directory, **settings)
        builder.search(*arrays(name, 64), validation_data=arrays(name, rows), epochs=1, verbose=0)
        measured = sum(file.stat().st_size for file in (builder.pool.directory / "candidates").iterdir())
    weights = weights_of(compiled(name, 0))
    what = f"a candidate on disk, {name}, N = {rows:,}, C = {CLASSES}"
    yield Point(what, "4 N C + 4 · 3 W", costs.candidate_bytes(weights, rows, CLASSES), measured, "bytes")


class Counting(tf.distribute.ReductionToOneDevice):
    """Adds up as TensorFlow does on one machine, and notes how much."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def reduce_implementation(self, reduce_op: Any, value: Any, *others: Any) -> Any:
        part = value.values[0] if hasattr(value, "values") else value  # of one replica
        self.bytes += math.prod(part.shape) * part.dtype.size
        return super().reduce_implementation(reduce_op, value, *others)

    def batch_reduce_implementation(self, reduce_op: Any, pairs: Any, options: Any) -> Any:
        return [self.reduce_implementation(reduce_op, value, where, options) for value, where in pairs]


def measure_reductions(name: str = "LeNet") -> Iterator[Point]:
    """Bytes that two replicas of an ensemble that tunes add up at a step."""
    trained, counted = in_new_process(partial(_reduced_bytes, name))
    what = f"added up by replicas at a step, hyper-batch {name}"
    expected = costs.gradient_bytes(trained, M, P)
    yield Point(what, "4 (trained weights + 4 M P + M + 3)", expected, counted, "bytes")


def _reduced_bytes(name: str) -> tuple[int, int]:
    """Trained weights, and bytes handed to reductions while the step is traced, which happens once."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    counting = Counting()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=counting)
    with strategy.scope():
        ensemble = compiled(name, M)
    x, y = np.zeros_like(arrays(name, ROWS)[0]), np.arange(ROWS) % CLASSES
    ensemble.fit(x, y, batch_size=ROWS, tuning_data=(x, y), verbose=0)
    counting.bytes = 0
    data = next(iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors((x, y)))))
    tf.function(lambda: strategy.run(ensemble.train_step, args=(data,))).get_concrete_function()
    return sum(math.prod(variable.shape) for variable in ensemble.trainable_variables), counting.bytes
