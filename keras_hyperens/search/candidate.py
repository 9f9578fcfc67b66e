"""A candidate: one network that was trained, its name and its place among others."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

SEARCH, INITIALIZATIONS, RETRAINING = "search", "initializations", "retraining"  # the stages
STAGES = (SEARCH, INITIALIZATIONS, RETRAINING)
CHECKPOINTS = "checkpoints"  # no stage of its own: other epochs of candidates of the first two
DIVERGED = "diverged"  # the first word of a failure that is no error


@dataclass(frozen=True)
class Candidate:
    """One trained network.

    Attributes:
        name: `"search-0007"`, or `"initializations-0007-2"`: the second initialization of that one's hyperparameters.
        stage: `"search"`, `"initializations"`, `"retraining"`, or `"checkpoints"` for another epoch of a candidate.
        values: Its hyperparameters.
        seed: From which its weights were initialized and its rows shuffled.
        parent: The candidate of the search that found its hyperparameters, itself if it is one of those; of a
            checkpoint the candidate whose epoch it is.
        score: Of its validation predictions, by the builder's metric; lower is better. `None` if it failed.
        metrics: What the training reported at its best epoch.
        best_epoch: Counted from 0.
        seconds: How long it took.
        weights: Its file of weights, relative to the directory of the pool.
        fold_weights: In place of that one the files of the networks of its folds, where it is the mean of these.
        build_config: What a model needs to create its weights before they are loaded.
        likelihoods: Names of what each output means, as `likelihoods.named` takes them: of each file of predictions.
        outputs: Names of its outputs, empty if it has one without a name.
        failure: Why it failed, else `None`.
    """

    name: str
    stage: str
    values: dict[str, Any]
    seed: int
    parent: str
    score: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    seconds: float = 0.0
    weights: str = ""
    build_config: dict[str, Any] | None = None
    likelihoods: tuple[str | None, ...] = ()
    outputs: tuple[str, ...] = ()
    failure: str | None = None
    fold_weights: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The last line of its failure, empty if it did not fail."""
        return (self.failure or "").strip().rpartition("\n")[2]


def rank(candidate: Candidate) -> tuple[float, str]:
    """A key to sort by: the best score first, and of equal ones the first name."""
    return (math.inf if candidate.score is None else candidate.score, candidate.name)


def best_of_equal_values(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for each set of hyperparameters: the one with the best score (Hyperband trains a set again)."""
    best: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=rank):
        best.setdefault(json.dumps(candidate.values, sort_keys=True), candidate)
    return sorted(best.values(), key=lambda each: each.name)


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


def name_of_checkpoint(candidate: str, epoch: int) -> str:
    """The name of a candidate as it was after an epoch, counted from 0."""
    return f"{CHECKPOINTS}-{candidate}-{epoch}"


def parent_of(name: str) -> str:
    """The name of the candidate whose hyperparameters the candidate `name` has; of a checkpoint, whose epoch it is."""
    stage, _, rest = name.partition("-")
    if stage == RETRAINING:
        return rest
    if stage == CHECKPOINTS:
        return rest.rpartition("-")[0]
    return name if stage == SEARCH else f"{SEARCH}-{rest.rpartition('-')[0]}"
