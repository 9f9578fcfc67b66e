"""Gradient boosting with `lightgbm`: trees for classes, or for mean and variance."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.tabular import tuning
from benchmarks.tabular.scores import nll
from benchmarks.tabular.tables import Samples
from benchmarks.tabular.tables import Table

ROUNDS, PATIENCE = 2_000, 50
FOLDS = 5
MOST_TRIALS = 200


def light_gbm(table: Table, seed: int, seconds: float) -> tuning.Trained:
    """Tunes on the held-out samples, which also determine the number of trees."""
    trial = _classes if table.classes else _gaussian
    draws = _draws(np.random.default_rng(seed))
    return tuning.best_of(lambda settings, _: trial(table, settings, seed), draws, seconds, MOST_TRIALS)


def _draws(generator: np.random.Generator) -> Iterator[tuning.Settings]:
    """Yields LightGBM's defaults, then samples of its usual space."""
    yield {}
    while True:
        yield {
            "learning_rate": tuning.log_uniform(generator, 0.02, 0.2),
            "num_leaves": int(tuning.log_uniform(generator, 4, 128)),
            "min_data_in_leaf": int(tuning.log_uniform(generator, 2, 100)),
            "feature_fraction": generator.uniform(0.4, 1.0),
            "bagging_fraction": generator.uniform(0.5, 1.0),
            "bagging_freq": 1,
            "lambda_l2": tuning.log_uniform(generator, 1e-3, 10.0),
        }


def _classes(table: Table, settings: tuning.Settings, seed: int) -> tuning.Trained:
    given = {**settings, "objective": "binary", "seed": seed}
    booster = _boosted(table, table.train, table.train.targets, given, table.held_out.targets)

    def predict(samples: Samples) -> np.ndarray:
        share = booster.predict(samples.raw)
        return np.stack([1 - share, share], -1)

    return _trial(table, predict, [booster])


def _gaussian(table: Table, settings: tuning.Settings, seed: int) -> tuning.Trained:
    """Models the variance by the squared residuals, with a gamma likelihood: that of squared Gaussian residuals.

    The residuals of training samples are out-of-fold.
    """
    train, held_out = table.train, table.held_out
    given = {**settings, "objective": "regression", "seed": seed}
    mean = _boosted(table, train, train.targets, given, held_out.targets)
    squares = np.square(train.targets - _out_of_fold(table, given, mean.best_iteration))
    held_out_squares = np.square(held_out.targets - mean.predict(held_out.raw))
    few = {"objective": "gamma", "learning_rate": 0.03, "num_leaves": min(settings.get("num_leaves", 31), 16)}
    variance = _boosted(table, train, squares + 1e-9, {**given, **few}, held_out_squares + 1e-9)

    def predict(samples: Samples) -> np.ndarray:
        return np.stack([mean.predict(samples.raw), variance.predict(samples.raw)], -1)

    return _trial(table, predict, [mean, variance])


def _out_of_fold(table: Table, given: tuning.Settings, rounds: int) -> np.ndarray:
    predicted = np.zeros(len(table.train))
    fold = np.random.default_rng(given["seed"]).integers(FOLDS, size=len(table.train))
    for each in range(FOLDS):
        samples = table.train[fold != each]
        booster = _boosted(table, samples, samples.targets, given, rounds=rounds)
        predicted[fold == each] = booster.predict(table.train[fold == each].raw)
    return predicted


def _boosted(
    table: Table, samples: Samples, targets: Any, given: tuning.Settings, held_out: Any = None, rounds: int = ROUNDS
) -> Any:
    """Trains trees: their number is that with the best score on the held-out targets, or `rounds` without these."""
    import lightgbm

    numbers, columns = samples.raw.shape[1] - samples.categories.shape[1], samples.raw.shape[1]
    described = {"categorical_feature": list(range(numbers, columns)), "free_raw_data": False}
    train = lightgbm.Dataset(samples.raw, targets, params={"verbose": -1}, **described)
    given = {"verbose": -1, "num_threads": 1, **given}
    if held_out is None:
        return lightgbm.train(given, train, rounds)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    validation = lightgbm.Dataset(table.held_out.raw, held_out, reference=train, **described)
    return lightgbm.train(given, train, rounds, valid_sets=[validation], callbacks=[stop])


def _trial(table: Table, predict: Any, boosters: list[Any]) -> tuning.Trained:
    leaves = sum(tree["num_leaves"] for booster in boosters for tree in booster.dump_model()["tree_info"])
    return tuning.Trained(nll(predict(table.held_out), table.held_out.targets, table), predict, 2 * leaves)
