"""A training step of the hyper-batch ensemble, against a plain network's on the same M * B rows."""

import itertools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from benchmarks.speed.aim import Aim
from benchmarks.speed.networks import CLASSES
from benchmarks.speed.networks import NETWORKS
from benchmarks.speed.networks import hypermodel
from benchmarks.speed.timing import seconds

M = 4
ROWS = (32, 128)  # of a member in a batch
EVERY = 3  # steps from one tuning step to the next
LIMITS = {("member", False): 1.25, ("member", True): 1.6, ("example", False): 2.3, ("example", True): 2.9}


def measure(
    repetitions: int, networks: tuple[str, ...] = tuple(NETWORKS), sizes: tuple[int, ...] = ROWS
) -> Iterator[Aim]:
    """One line for each network, size of batch, way to draw, and with or without tuning."""
    for name, size in itertools.product(networks, sizes):
        functions = {"plain": _plain(name, M * size)}
        functions |= {case: _ours(name, size, *case) for case in LIMITS}
        medians = seconds(functions, repetitions, calls=EVERY)
        for (sampling, tunes), limit in LIMITS.items():
            ours, plain = medians[sampling, tunes], medians["plain"]
            tuning = ", tuning every third step" if tunes else ""
            what = f"{name}, {size} rows a member, one draw per {sampling}{tuning}"
            note = f"{1e3 * ours:.1f} / {1e3 * plain:.1f} ms"
            yield Aim("training step / plain", what, ours / plain, limit, note=note)
        keras.backend.clear_session()


def rows(name: str, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(count, *NETWORKS[name][1])).astype("float32")
    return tf.constant(images), tf.constant(generator.integers(0, CLASSES, count))


def _plain(name: str, size: int) -> Callable[[], Any]:
    model = hypermodel(name)(keras_tuner.HyperParameters())
    model.optimizer.build(model.trainable_variables)
    return _step(model, rows(name, size))


def _ours(name: str, size: int, sampling: str, tunes: bool) -> Callable[[], Any]:
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(hypermodel(name), M, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ensemble.compile("adam", loss, sampling=sampling, tuning_every=EVERY)
    data = rows(name, size)
    if tunes:  # `fit` takes the tuning rows
        held_out = tuple(each.numpy() for each in rows(name, 4 * size))
        ensemble.fit(*data, batch_size=size, epochs=1, tuning_data=held_out, verbose=0)
    else:
        ensemble.prepare(tf.TensorSpec((None, *data[0].shape[1:])))
    return _step(ensemble, data)


def _step(model: keras.Model, data: Any) -> Callable[[], Any]:
    step = tf.function(lambda: model.train_step(data))
    return lambda: keras.tree.map_structure(np.asarray, step())
