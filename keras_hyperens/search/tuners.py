"""KerasTuner's tuners by name or from an oracle, an oracle that knows all its trials, and names of their own."""

from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.distributed.processes import worker_id
from keras_hyperens.search.tuner_hooks import OF_HYPERBAND

OWN = "keras_hyperens/"  # how names begin that no hyperparameter of the user's may have
RUN = f"{OWN}run"  # travels to the workers among the values of a trial
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
    """A tuner that starts anew: what it decided before, it decides again, and finished candidates are not trained."""
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
    )  # KerasTuner takes a seed of 0 for none


class EnumeratingOracle(keras_tuner.Oracle):
    """Gives out a list of trainings, one trial each, in their order.

    So KerasTuner's display, failures and chief/worker distribution serve trainings that no search decides about: the
    same hyperparameters from several initializations.

    Args:
        objective: As in `keras_tuner.Oracle`.
        runs: Hyperparameter values of each training; `RUN` among them names it.
    """

    def __init__(self, objective: Any, runs: list[dict[str, Any]]) -> None:
        super().__init__(objective=objective, max_trials=len(runs), seed=1)
        self.runs = runs

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        return {"status": "RUNNING", "values": dict(self.runs[int(trial_id)])}


def is_internal(name: str) -> bool:
    """Whether tuners, or this package, use a name themselves."""
    return name.startswith(OWN) or name in OF_HYPERBAND


def own_values(values: dict[str, Any]) -> dict[str, Any]:
    """Values of the hypermodel's hyperparameters, without those by which tuners talk to themselves."""
    return {name: value for name, value in values.items() if not is_internal(name)}
