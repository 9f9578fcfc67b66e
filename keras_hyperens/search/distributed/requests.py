"""Requests of workers: how one says that it lives, and which a chief refuses before they reach the oracle."""

from typing import Any

import keras_tuner

from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.tuner_hooks import ENDS
from keras_hyperens.search.tuners import is_internal

ALIVE = "keras_hyperens/alive"  # first line of what a worker sends to say so; its name and its candidate's follow


class Refused(ValueError):
    """What is wrong with a request."""


def alive_message(worker: str, candidate: str) -> str:
    """Says that a worker lives, and which candidate it trains."""
    return "\n".join([ALIVE, worker, candidate])


def worker_and_candidate(message: str) -> tuple[str, str]:
    """What `alive_message` was made of."""
    found = message.split("\n")
    if len(found) != 3:
        raise Refused(f"A message must have 3 lines. Received: {message!r}")
    return found[1], found[2]


def check_metrics(oracle: keras_tuner.Oracle, metrics: Any) -> None:
    """Refuses a report without the objective."""
    try:
        tuner_hooks.check_objective(oracle, metrics)
    except ValueError as error:
        raise Refused(f"A report must have the objective in it. Received: {dict(metrics)} ({error})") from error


def check_end(oracle: keras_tuner.Oracle, trial: Any) -> None:
    """Refuses the end of a trial that did not end so, and one that brings what is not the worker's to decide."""
    if trial.status not in ENDS:
        raise Refused(f"A trial must end as one of {ENDS}. Received: status={trial.status!r}")
    known = oracle.trials[trial.trial_id]
    before, now = known.hyperparameters.values, trial.hyperparameters.values
    changed = [name for name in {*before, *now} if is_internal(name) and before.get(name) != now.get(name)]
    if changed:
        raise Refused(f"These values must stay as the chief gave them: {changed}. Received: others")
    check_space(oracle, trial.hyperparameters)
    if trial.status == "COMPLETED" and not known.metrics.exists(oracle.objective.name):
        raise Refused(
            f"A completed trial must have reported {oracle.objective.name!r}. "
            f"Received: {list(known.metrics.metrics)} of trial {trial.trial_id}"
        )


def check_space(oracle: keras_tuner.Oracle, hyperparameters: Any) -> None:
    """Refuses hyperparameters with names of ours or of Hyperband's, and new ones if the user wants none."""
    internal = [each.name for each in hyperparameters.space if is_internal(each.name)]
    if internal:
        raise Refused(f"Names of hyperparameters must not be those that tuners use themselves. Received: {internal}")
    new = [each.name for each in hyperparameters.space if not tuner_hooks.has_hyperparameter(oracle, each)]
    if new and not oracle.allow_new_entries:
        raise Refused(f"The space must stay as it is (`allow_new_entries=False`). Received: {new}")
