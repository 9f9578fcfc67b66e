"""The names of candidates, put together and taken apart."""

from keras_hyperens.search.pool import INITIALIZATIONS
from keras_hyperens.search.pool import RETRAINING
from keras_hyperens.search.pool import SEARCH


def name_of_trial(trial_id: str) -> str:
    """The name of a candidate of the search."""
    number = f"{int(trial_id):04d}" if trial_id.isdigit() else trial_id  # KerasTuner's width depends on `max_trials`
    return f"{SEARCH}-{number}"


def name_of_run(parent: str, initialization: int) -> str:
    """The name of one more training of the hyperparameters of `parent`, a candidate of the search."""
    return f"{INITIALIZATIONS}-{parent.removeprefix(f'{SEARCH}-')}-{initialization}"


def number_of_run(name: str) -> int:
    """Which of the trainings of its hyperparameters it is."""
    return int(name.rpartition("-")[2])


def name_of_retraining(member: str) -> str:
    """The name of the training of the member `member` on all rows."""
    return f"{RETRAINING}-{member}"


def parent_of(name: str) -> str:
    """The name of the candidate whose hyperparameters the candidate `name` has."""
    stage, _, rest = name.partition("-")
    if stage == RETRAINING:
        return rest
    return name if stage == SEARCH else f"{SEARCH}-{rest.rpartition('-')[0]}"
