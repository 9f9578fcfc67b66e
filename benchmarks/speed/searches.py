"""Candidates a minute of a search: ours, several in one graph, against KerasTuner's and against one at a time."""

import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks.experiment import Hypermodel
from benchmarks.networks import lenet
from benchmarks.speed.aim import Aim
from benchmarks.speed.networks import CLASSES
from benchmarks.speed.networks import hypermodel


@dataclass(frozen=True)
class Size:
    """How much is searched: rows of `shape`, and candidates of each way to search."""

    shape: tuple[int, ...]
    rows: int
    batch_size: int
    epochs: int
    ours: int  # candidates of our search
    others: int  # and of what it is compared with, half of them before ours, half of them after
    at_once: int


SMALL = Size((28, 28, 1), rows=4000, batch_size=64, epochs=5, ours=40, others=8, at_once=8)
LARGE = Size((32, 32, 3), rows=640, batch_size=32, epochs=2, ours=8, others=4, at_once=4)
IMAGES = Size((28, 28, 1), rows=6000, batch_size=64, epochs=5, ours=32, others=4, at_once=8)
TABLE = Size((20,), rows=10_000, batch_size=128, epochs=10, ours=64, others=8, at_once=32)
MEMBERS = 4


def measure(repetitions: int, small: Size = SMALL, large: Size = LARGE, network: str = "ResNet-8") -> Iterator[Aim]:
    """One line for a small network against `RandomSearch`, one for a larger network against our own search.

    Searches are long, so one repetition of each is measured, whatever `repetitions` says.
    """
    yield _aim("LeNet, of `keras_tuner.RandomSearch`", small, _build_lenet, _random_search, 5.0)
    yield _aim(f"{network}, of one at a time", large, hypermodel(network), _ours, 0.9)


def measure_ensembles(repetitions: int, images: Size = IMAGES, table: Size = TABLE) -> Iterator[Aim]:
    """An ensemble of four: our search in groups, against `RandomSearch` and the training of its best values four times.

    The time of the latter is that of its candidates, measured on a few, times their number and four more.
    """
    yield _of_ensemble("LeNet", images, _build_lenet, 0.12)
    yield _of_ensemble("MLP, table", table, _build_mlp, 0.05)


def _of_ensemble(name: str, size: Size, build_model: Hypermodel, limit: float) -> Aim:
    half = size.others // 2
    before = _seconds(_random_search, build_model, size, half)
    ours = _seconds(_our_ensemble, build_model, size, size.ours, size.at_once) * size.ours
    theirs = (before + _seconds(_random_search, build_model, size, half)) / 2 * (size.ours + MEMBERS)
    what = f"{name}, {size.ours} candidates, {size.rows:,} rows, {size.epochs} epochs, {size.at_once} at once"
    return Aim("time of an ensemble of 4", what, ours / theirs, limit, note=f"{ours:.0f} / {theirs:.0f} s")


def _aim(name: str, size: Size, build_model: Hypermodel, other: Callable[..., None], limit: float) -> Aim:
    half = size.others // 2
    before = _seconds(other, build_model, size, half)
    ours = _seconds(_ours, build_model, size, size.ours, size.at_once)
    theirs = (before + _seconds(other, build_model, size, half)) / 2
    note = f"{60 / ours:.1f} / {60 / theirs:.1f} a minute"
    return Aim("candidates a minute", f"{name}, {size.at_once} at once", theirs / ours, limit, False, note)


def _seconds(search: Callable[..., None], build_model: Hypermodel, size: Size, candidates: int, *how: int) -> float:
    """Of one candidate, all included."""
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        search(build_model, size, candidates, directory, *how)
        return (time.perf_counter() - start) / candidates


def _build_lenet(hp: keras_tuner.HyperParameters) -> keras.Model:
    l2, dropout = hp.Float("l2", 1e-6, 1e-2, sampling="log"), hp.Float("dropout", 0.0, 0.5)
    model = lenet(l2, dropout, SMALL.shape, CLASSES)
    rate = hp.Float("learning_rate", 5e-4, 5e-3, sampling="log")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def _build_mlp(hp: keras_tuner.HyperParameters) -> keras.Model:
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    layers: list[keras.layers.Layer] = []
    for _ in range(2):
        layers += [
            keras.layers.Dense(64, "relu", kernel_regularizer=l2),
            keras.layers.Dropout(hp.Float("rate", 0, 0.5)),
        ]
    model = keras.Sequential([keras.Input(TABLE.shape), *layers, keras.layers.Dense(CLASSES)])
    optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 5e-4, 5e-3, sampling="log"))
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def _arguments(size: Size) -> dict[str, Any]:
    random = np.random.default_rng(0)
    images = random.normal(size=(size.rows * 5 // 4, *size.shape)).astype("float32")
    labels = random.integers(0, CLASSES, len(images))
    x, y, validation = images[: size.rows], labels[: size.rows], (images[size.rows :], labels[size.rows :])
    settings = {"epochs": size.epochs, "batch_size": size.batch_size, "verbose": 0}
    return {"x": x, "y": y, "validation_data": validation, **settings}


def _random_search(build_model: Hypermodel, size: Size, candidates: int, directory: str) -> None:
    tuner = keras_tuner.RandomSearch(build_model, "val_loss", max_trials=candidates, directory=directory, seed=1)
    tuner.search(**_arguments(size))


def _ours(build_model: Hypermodel, size: Size, candidates: int, directory: str, at_once: int = 1) -> None:
    _searched(build_model, size, candidates, directory, at_once, members=1)


def _our_ensemble(build_model: Hypermodel, size: Size, candidates: int, directory: str, at_once: int) -> None:
    _searched(build_model, size, candidates, directory, at_once, MEMBERS).build_ensemble()


def _searched(
    build_model: Hypermodel, size: Size, candidates: int, directory: str, at_once: int, members: int
) -> khe.HyperDeepEnsembleBuilder:
    settings = {"ensemble_size": members, "initializations": 0, "directory": directory, "seed": 0}
    builder = khe.HyperDeepEnsembleBuilder(build_model, max_trials=candidates, candidates_at_once=at_once, **settings)
    builder.search(**_arguments(size))
    return builder
