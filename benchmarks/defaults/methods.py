"""The methods: a hyper-batch ensemble, the same with one change, from bad initial values, and its baselines."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.experiment import Schedule
from benchmarks.paper import networks

TRAIN, TUNING, VALIDATION, FURTHER = 6_000, 1_000, 1_000, 10_000  # samples
SCHEDULE = Schedule(epochs=20, patience=20, batch_size=64)
WEAK, STRONG = 0.05, 0.8  # of the way through the ranges
NEVER = 10**9  # steps
KNOWN: dict[str, Any] = {"member_rows": "same", "tune_temperature": False}


def _trained(model: keras.Model, data: Data) -> keras.Model:
    """The weights of the epoch with the lowest NLL on validation samples."""
    experiment.train(model, data.one_hot, SCHEDULE)
    return model


def _hyper_batch(data: Data, network: str, settings: dict[str, float], seed: int, **options: Any) -> keras.Model:
    compiled = options.pop("compiled", {})
    build_model = networks.hypermodel_of(network, data, SCHEDULE)
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(
        build_model, ensemble_size=options.pop("ensemble_size", 3), initial_values=settings, seed=seed, **options
    )
    ensemble.compile(
        SCHEDULE.optimizer(TRAIN),
        ensemble.loss,
        metrics=[keras.metrics.CategoricalCrossentropy(name="nll")],
        **compiled,
    )
    return _trained(ensemble, data)


def _batch(data: Data, network: str, settings: dict[str, float], seed: int, **compiled: Any) -> keras.Model:
    return _hyper_batch(data, network, settings, seed, sharing="batch", compiled=compiled)


def _single(data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    model, _ = experiment.with_values(networks.hypermodel_of(network, data, SCHEDULE), settings)
    return _trained(model, data)


def _deep(data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    members = []
    for member in range(3):
        keras.utils.set_random_seed(10 * seed + member)
        members.append(_single(data, network, settings, seed))
    return khe.HyperDeepEnsemble(members)


def _from(place: float, data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    ranges = {name: (0.0, 0.5) if name == "dropout" else (0.0, 0.2) for name in ("dropout", "label_smoothing")}
    start = {
        name: float(np.interp(place, (0, 1), ranges[name])) if name in ranges else float(10 ** (-5 + 3 * place))
        for name in settings
    }
    return _hyper_batch(data, network, start, seed)


def _with_fixed(name: str, data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    others = {other: value for other, value in settings.items() if other != name}
    return _hyper_batch(data, network, others, seed, fixed={name: settings[name]})


def _without(**compiled: Any) -> Callable[..., keras.Model]:
    return lambda *arguments: _hyper_batch(*arguments, compiled=compiled)


METHODS: dict[str, Callable[..., keras.Model]] = {
    "single": _single,
    "deep": _deep,
    "batch": lambda *arguments: _batch(*arguments, **KNOWN),
    "batch, distinct samples and temperature": _batch,
    "hyper-batch": _hyper_batch,
    "hyper-batch from weak penalties": lambda *arguments: _from(WEAK, *arguments),
    "hyper-batch from strong penalties": lambda *arguments: _from(STRONG, *arguments),
    "hyper-batch, the same samples": _without(member_rows="same"),
    "hyper-batch, no temperature": _without(tune_temperature=False),
    "hyper-batch, the reference's response": lambda *arguments: _hyper_batch(*arguments, response="reference"),
    "hyper-batch, samples 4 steps apart": _without(member_rows=4),
    "hyper-batch, no prior": _without(prior_weight=0.0),
    "hyper-batch, no prior, bounds move after 300 steps": _without(prior_weight=0.0, tuning_warmup=300),
    "hyper-batch, bounds stay": _without(tuning_warmup=NEVER),
    "hyper-batch, a third of the tuning rate": lambda *arguments: _hyper_batch(
        *arguments, compiled={"tuning_optimizer": _slower_optimizer()}
    ),
    "hyper-batch, label smoothing stays": lambda *arguments: _with_fixed("label_smoothing", *arguments),
    "hyper-batch as it was": lambda *arguments: _hyper_batch(
        *arguments,
        response="reference",
        compiled={**KNOWN, "prior_weight": 0.0, "tuning_optimizer": _slower_optimizer()},
    ),
}


def _slower_optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.InverseTimeDecay(1e-2, 200, 1.0))
