"""A training step of the hyper-batch ensemble, against a plain network's on the same M * B rows."""

import itertools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.speed.aim import Aim
from benchmarks.speed.networks import NETWORKS
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled
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


def _plain(name: str, size: int) -> Callable[[], Any]:
    model = compiled(name, 0)
    model.optimizer.build(model.trainable_variables)
    return step_of(model, arrays(name, size))


def _ours(name: str, size: int, sampling: str, tunes: bool) -> Callable[[], Any]:
    ensemble, data = compiled(name, M, sampling=sampling, tuning_every=EVERY), arrays(name, size)
    return step_of(prepared(ensemble, data, arrays(name, 4 * size) if tunes else None), data)


def prepared(ensemble: keras.Model, data: tuple[np.ndarray, np.ndarray], tuning_data: Any) -> keras.Model:
    """The ensemble, built, and with tuning rows if there are any: `fit` takes them."""
    if tuning_data is None:
        ensemble._prepare(tf.TensorSpec((None, *data[0].shape[1:])))
    else:
        ensemble.fit(*data, batch_size=len(data[1]), tuning_data=tuning_data, verbose=0)
    return ensemble


def step_of(model: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> Callable[[], Any]:
    """A training step on these rows, which returns when it is done."""
    batch = tuple(map(tf.constant, data))
    step = tf.function(lambda: model.train_step(batch))
    return lambda: keras.tree.map_structure(np.asarray, step())
