"""Requests of workers: reports that they are alive, and validation before the oracle."""

from typing import Any

import keras_tuner

from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.tuner_hooks import ENDS
from keras_hyperens.search.tuners import is_internal

ALIVE = "keras_hyperens/alive"  # first line of a report; the names of the worker and its candidate follow


class Refused(ValueError):
    """Raised for an invalid request."""


def alive_message(worker: str, candidate: str) -> str:
    """Returns a report that a worker is alive, and of its candidate."""
    return "\n".join([ALIVE, worker, candidate])


def worker_and_candidate(message: str) -> tuple[str, str]:
    """Parses the result of `alive_message`."""
    found = message.split("\n")
    if len(found) != 3:
        raise Refused(f"A message must have 3 lines. Received: {message!r}")
    return found[1], found[2]


def check_metrics(oracle: keras_tuner.Oracle, metrics: Any) -> None:
    """Rejects a report without the objective."""
    try:
        tuner_hooks.check_objective(oracle, metrics)
    except ValueError as error:
        raise Refused(f"A report must contain the objective. Received: {dict(metrics)} ({error})") from error


def check_end(oracle: keras_tuner.Oracle, trial: Any) -> None:
    """Rejects the end of a trial with an invalid status, or with values that a worker must not change."""
    if trial.status not in ENDS:
        raise Refused(f"A trial must end as one of {ENDS}. Received: status={trial.status!r}")
    known = oracle.trials[trial.trial_id]
    before, now = known.hyperparameters.values, trial.hyperparameters.values
    changed = [name for name in {*before, *now} if is_internal(name) and before.get(name) != now.get(name)]
    if changed:
        raise Refused(f"These values must not differ from those of the chief: {changed}. Received: others")
    check_space(oracle, trial.hyperparameters)
    if trial.status == "COMPLETED" and not known.metrics.exists(oracle.objective.name):
        raise Refused(
            f"A completed trial must have reported {oracle.objective.name!r}. "
            f"Received: {list(known.metrics.metrics)} of trial {trial.trial_id}"
        )


def check_space(oracle: keras_tuner.Oracle, hyperparameters: Any) -> None:
    """Rejects hyperparameters with reserved names, and new ones if the user does not allow them."""
    internal = [each.name for each in hyperparameters.space if is_internal(each.name)]
    if internal:
        raise Refused(f"Hyperparameter names must not be reserved by tuners. Received: {internal}")
    new = [each.name for each in hyperparameters.space if not tuner_hooks.has_hyperparameter(oracle, each)]
    if new and not oracle.allow_new_entries:
        raise Refused(f"The space must not change (`allow_new_entries=False`). Received: {new}")
