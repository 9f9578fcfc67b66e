"""KerasTuner tuners by name or oracle, an oracle with a list of trials, and reserved names."""

from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.distributed.processes import worker_id
from keras_hyperens.search.tuner_hooks import OF_HYPERBAND

OWN = "keras_hyperens/"  # reserved prefix of hyperparameter names
RUN = f"{OWN}run"  # passed to workers with the values of a trial
TUNERS = {
    "random": keras_tuner.RandomSearch,
    "grid": keras_tuner.GridSearch,
    "bayesian": keras_tuner.BayesianOptimization,
    "hyperband": keras_tuner.Hyperband,
}


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
    """Returns a new tuner, which repeats earlier decisions without training finished candidates again."""
    project = files.join(directory, project_name)
    if is_worker():
        tuner_hooks.forget_worker(project, worker_id())
    else:
        tuner_hooks.forget_decisions(project)
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
    )  # KerasTuner treats a seed of 0 as none


class EnumeratingOracle(keras_tuner.Oracle):
    """Oracle that returns a list of training runs, one trial each, in order.

    It uses KerasTuner's display, failure handling and chief/worker distribution for training runs without a search: the
    same hyperparameters from several initializations.

    Args:
        objective: As in `keras_tuner.Oracle`.
        runs: Hyperparameter values of each training run; `RUN` among them is its name.
    """

    def __init__(self, objective: Any, runs: list[dict[str, Any]]) -> None:
        super().__init__(objective=objective, max_trials=len(runs), seed=1)
        self.runs = runs

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        return {"status": "RUNNING", "values": dict(self.runs[int(trial_id)])}


def is_internal(name: str) -> bool:
    """Whether a name is reserved by tuners or this package."""
    return name.startswith(OWN) or name in OF_HYPERBAND


def own_values(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of the hypermodel's hyperparameters, without reserved names."""
    return {name: value for name, value in values.items() if not is_internal(name)}
