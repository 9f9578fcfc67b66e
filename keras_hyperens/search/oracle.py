"""A KerasTuner oracle that knows all its trials beforehand."""

from typing import Any

import keras_tuner

OWN = "keras_hyperens/"  # how names begin that no hyperparameter of the user's may have
RUN = f"{OWN}run"  # travels to the workers among the values of a trial
OF_HYPERBAND = frozenset(f"tuner/{name}" for name in ("epochs", "initial_epoch", "bracket", "round", "trial_id"))


def is_internal(name: str) -> bool:
    """Whether tuners, or this package, use a name themselves."""
    return name.startswith(OWN) or name in OF_HYPERBAND


def own_values(values: dict[str, Any]) -> dict[str, Any]:
    """Values of the hypermodel's hyperparameters, without those by which tuners talk to themselves."""
    return {name: value for name, value in values.items() if not is_internal(name)}


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
