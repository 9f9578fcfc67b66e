"""Methods of this package: one hypermodel, with equal time for tuning."""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks.experiment import OBJECTIVE
from benchmarks.experiment import Hypermodel
from benchmarks.tabular import hypermodel as networks
from benchmarks.tabular import tuning
from benchmarks.tabular.tables import Table

K = 4  # members of deep and hyper-deep ensembles
AT_ONCE = 8  # candidates of the search in one graph
MOST_TRIALS = 500
SEARCHED = ("mlp", "deep", "hyper-deep")
INITIALIZERS = (None, "random_sign")  # of the rank-1 factors: the default of the package, and random signs


@dataclass(frozen=True)
class Budget:
    """Budget of every method: seconds for tuning, steps of a training run, and width of the network."""

    seconds_to_tune: float
    steps: int = networks.STEPS
    width: int = networks.WIDTH


class _SecondsAreOver(BaseException):
    """Stops a search between two groups of candidates.

    It is not an `Exception`, because KerasTuner treats these as failures of a trial.
    """


class _Limited:
    """Hypermodel whose search stops after the given seconds, once a group is trained."""

    def __init__(self, build_model: Hypermodel) -> None:
        self.build_model = build_model
        self.is_over = lambda: False

    def __call__(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        if self.is_over():
            raise _SecondsAreOver
        return self.build_model(hp)

    def search(self, builder: khe.HyperDeepEnsembleBuilder, seconds: float, **given: Any) -> None:
        """Runs the search; the time of candidates on disk is included."""
        end = tuning.clock() + seconds - sum(each.seconds for each in builder.candidates)
        self.is_over = lambda: tuning.clock() >= end and bool(builder.candidates)
        with contextlib.suppress(_SecondsAreOver):
            builder.search_hyperparameters(**given)
        self.is_over = lambda: False


def searched(method: str, table: Table, seed: int, budget: Budget, directory: pathlib.Path) -> tuning.Trained:
    """Returns the tuned MLP, its deep ensemble, or a hyper-deep ensemble, all from the same search on disk.

    The seconds are those of the search and of the initializations that the method requires, out of K * K.
    """
    limited = _Limited(networks.hypermodel(table, budget.steps, budget.width))
    builder = khe.HyperDeepEnsembleBuilder(
        limited,
        ensemble_size=K,
        objective=OBJECTIVE,
        max_trials=MOST_TRIALS,
        candidates_at_once=AT_ONCE,
        directory=directory,
        seed=seed,
    )
    of_search, of_initializations = _trained_candidates(builder, limited, table, budget, directory)
    size, share = {"mlp": (1, 1 / K**2), "deep": (K, 1 / K), "hyper-deep": (K, 1.0)}[method]
    ensemble = builder.build_ensemble() if method == "hyper-deep" else builder.build_deep_ensemble(size)
    trials = sum(each.stage == "search" for each in builder.candidates)
    seconds = of_search + share * of_initializations
    nll = min(each.score for each in builder.candidates if each.score is not None)
    predict, parameters = _predictor(ensemble), ensemble.count_params()
    return tuning.Trained(nll, predict, parameters, seconds, trials, builder.members[0].values)


def _trained_candidates(
    builder: khe.HyperDeepEnsembleBuilder, limited: _Limited, table: Table, budget: Budget, directory: pathlib.Path
) -> list[float]:
    """Trains all candidates, unless they are on disk, and returns the seconds of both stages."""
    file = directory / "seconds.json"
    if not file.exists():
        x, y = table.train.data
        epochs = networks.epochs_of(table, budget.steps)
        given = {"x": x, "y": y, "validation_data": table.held_out.data, "epochs": epochs}
        given["batch_size"] = networks.BATCH
        start = tuning.clock()
        limited.search(builder, budget.seconds_to_tune, **given)
        between = tuning.clock()
        builder.train_initializations(**given)
        file.write_text(json.dumps([between - start, tuning.clock() - between]))
    return json.loads(file.read_text())


def hyper_batch(table: Table, seed: int, budget: Budget, ensemble_size: int) -> tuning.Trained:
    """Trains a hyper-batch ensemble, which tunes L2 and dropout, with as many settings as the time allows.

    The settings are the learning rate and the initializer of the rank-1 factors.
    """
    build_model = networks.hypermodel(table, width=budget.width)
    epochs = networks.epochs_of(table, budget.steps)

    def train(settings: tuning.Settings, seconds: float) -> tuning.Trained:
        keras.utils.set_random_seed(seed)
        ensemble = khe.HyperBatchEnsemble.from_hypermodel(
            build_model,
            ensemble_size=ensemble_size,
            fixed={"learning_rate": settings["learning_rate"]},
            fast_weight_initializer=settings["fast_weight_initializer"],
            seed=seed,
        )
        stop = keras.callbacks.EarlyStopping("val_nll", mode="min", patience=epochs, restore_best_weights=True)
        ensemble.fit(
            *table.train.data,
            batch_size=networks.BATCH,
            epochs=epochs,
            tuning_data=table.tuning.data,
            validation_data=table.validation.data,
            callbacks=[stop, networks.Annealing(epochs, seconds)],
            verbose=0,
        )
        return tuning.Trained(stop.best, _predictor(ensemble), ensemble.count_params())

    return tuning.best_of(train, _settings(seed), budget.seconds_to_tune)


def _settings(seed: int) -> Iterator[tuning.Settings]:
    """Yields the learning rate of the hypermodel with each initializer, then random values of both."""
    for initializer in INITIALIZERS:
        yield {"learning_rate": networks.RATE, "fast_weight_initializer": initializer}
    generator = np.random.default_rng(seed)
    while True:
        rate, number = tuning.log_uniform(generator, *networks.RATES), int(generator.integers(len(INITIALIZERS)))
        yield {"learning_rate": rate, "fast_weight_initializer": INITIALIZERS[number]}


def _predictor(ensemble: keras.Model) -> tuning.Predict:
    return lambda samples: ensemble.predict(samples.data[0], batch_size=1_000, verbose=0)
