"""Bytes that replicas add up at a training step: counted where TensorFlow hands them to a reduction."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.processes import in_new_process
from benchmarks.scale import costs
from benchmarks.scale.point import Point
from benchmarks.speed.networks import CLASSES
from benchmarks.speed.networks import NETWORKS
from benchmarks.speed.networks import compiled

M, P, ROWS = 4, 2, 8


class Counting(tf.distribute.ReductionToOneDevice):
    """Adds up as TensorFlow does on one machine, and notes how much."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def reduce_implementation(self, reduce_op: Any, value: Any, *others: Any) -> Any:
        self.bytes += _size(value)
        return super().reduce_implementation(reduce_op, value, *others)

    def batch_reduce_implementation(self, reduce_op: Any, pairs: Any, options: Any) -> Any:
        return [self.reduce_implementation(reduce_op, value, where, options) for value, where in pairs]


def measure(networks: tuple[str, ...] = ("LeNet",)) -> Iterator[Point]:
    """Of a hyper-batch ensemble that tunes, on two replicas."""
    for name in networks:
        trained, counted = in_new_process(partial(_bytes, name))
        what = f"added up by replicas at a step, hyper-batch {name}"
        expected = costs.gradient_bytes(trained, M, P)
        yield Point(what, "4 (trained weights + 2 M P + M + 3)", expected, counted, "bytes")


def _bytes(name: str) -> tuple[int, int]:
    """Trained weights, and bytes handed to reductions while the step is traced, which happens once."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    counting = Counting()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=counting)
    with strategy.scope():
        ensemble = compiled(name, M)
    x = np.zeros((ROWS, *NETWORKS[name][1]), "float32")
    y = np.arange(ROWS) % CLASSES
    ensemble.fit(x, y, batch_size=ROWS, tuning_data=(x, y), verbose=0)
    counting.bytes = 0
    data = next(iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors((x, y)))))
    tf.function(lambda: strategy.run(ensemble.train_step, args=(data,))).get_concrete_function()
    return sum(int(np.prod(variable.shape)) for variable in ensemble.trainable_variables), counting.bytes


def _size(value: Any) -> int:
    """Bytes of one replica's part."""
    part = value.values[0] if hasattr(value, "values") else value
    return int(np.prod(part.shape)) * part.dtype.size
