"""KerasTuner tuners by name, from an oracle, or the user's own."""

from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.search.processes import is_worker
from keras_hyperens.search.processes import worker_id

TUNERS = {
    "random": keras_tuner.RandomSearch,
    "grid": keras_tuner.GridSearch,
    "bayesian": keras_tuner.BayesianOptimization,
    "hyperband": keras_tuner.Hyperband,
}


def check_tuner(tuner: Any, max_trials: int | None) -> None:
    """Raises a `TypeError` or `ValueError` for what cannot search."""
    if isinstance(tuner, str):
        if tuner not in TUNERS:
            raise ValueError(
                f"`tuner` must be one of {tuple(TUNERS)}, a `keras_tuner.Oracle` or a `keras_tuner.Tuner`. "
                f"Received: tuner={tuner!r}"
            )
        if tuner in ("random", "bayesian") and max_trials is None:
            raise ValueError(f"tuner={tuner!r} needs `max_trials`. Received: max_trials=None")
    elif isinstance(tuner, keras_tuner.oracles.HyperbandOracle):
        raise ValueError(
            'Hyperband trains in its own way: pass tuner="hyperband" or a `keras_tuner.Hyperband`. '
            f"Received: tuner={tuner!r}"
        )
    elif not isinstance(tuner, keras_tuner.Oracle | keras_tuner.Tuner):
        raise TypeError(
            f"`tuner` must be a name, a `keras_tuner.Oracle` or a `keras_tuner.Tuner`. Received: tuner={tuner!r}"
        )
    if max_trials is not None and (not isinstance(max_trials, int) or max_trials < 1):
        raise ValueError(f"`max_trials` must be an integer of at least 1. Received: max_trials={max_trials!r}")


def make_tuner(
    kind: Any,
    hypermodel: Any,
    directory: files.Path,
    project_name: str,
    *,
    strategy: Any,
    objective: Any = None,
    max_trials: int | None = None,
    hyperparameters: keras_tuner.HyperParameters | None = None,
    seed: int = 0,
    epochs: int = 100,
) -> keras_tuner.Tuner:
    """A tuner that starts anew: what it decided before, it decides again, and finished candidates are not trained."""
    project = files.join(directory, project_name)
    if is_worker():
        files.remove(
            files.join(project, f"{files.checked_name(worker_id())}.json")
        )  # it may have been killed while it wrote that
    else:
        _forget_decisions(project)
    common = {
        "hypermodel": hypermodel,
        "directory": str(directory),
        "project_name": project_name,
        "distribution_strategy": strategy,
    }
    if isinstance(kind, keras_tuner.Oracle):
        return keras_tuner.Tuner(oracle=kind, **common)
    limit = {"max_epochs": epochs} if kind == "hyperband" else {"max_trials": max_trials}
    return TUNERS[kind](
        objective=objective, hyperparameters=hyperparameters, seed=1 + seed % 2**31, **limit, **common
    )  # KerasTuner takes a seed of 0 for none


def _forget_decisions(project: str) -> None:
    for name in files.names(project, "*.json"):
        files.remove(files.join(project, name))
    for name in files.names(project, "trial_*"):
        files.remove(files.join(project, name, "trial.json"))
