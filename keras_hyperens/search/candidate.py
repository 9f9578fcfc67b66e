"""Candidates: trained networks with their names and order."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

SEARCH, INITIALIZATIONS, RETRAINING = "search", "initializations", "retraining"  # the stages
STAGES = (SEARCH, INITIALIZATIONS, RETRAINING)
CHECKPOINTS = "checkpoints"  # not a stage: further epochs of candidates of the first two
DIVERGED = "diverged"  # first word of a failure that is not an error


@dataclass(frozen=True)
class Candidate:
    """A trained network.

    Attributes:
        name: `"search-0007"`, or `"initializations-0007-2"` for the second initialization of its hyperparameters.
        stage: `"search"`, `"initializations"`, `"retraining"`, or `"checkpoints"` for another epoch of a candidate.
        values: Its hyperparameter values.
        seed: Seed of its initialization and of the order of its samples.
        parent: The candidate of the search with its hyperparameters, possibly itself. For a checkpoint, the
            candidate of the epoch.
        score: Score of its validation predictions, by the builder's metric; lower is better. `None` if it failed.
        metrics: Metrics at its best epoch.
        best_epoch: Index of the best epoch, from 0.
        seconds: Duration of the training.
        weights: Its file of weights, relative to the directory of the pool.
        fold_weights: Instead, the files of the networks of its folds, if it is their mean.
        build_config: Build configuration, required to create the variables before weights are loaded.
        likelihoods: Names of the likelihoods of its outputs, as in `likelihoods.named`: one per file of predictions.
        outputs: Names of its outputs, empty for a single output without a name.
        failure: Reason of a failure, or `None`.
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
        """The last line of its failure, or an empty string."""
        return (self.failure or "").strip().rpartition("\n")[2]


def rank(candidate: Candidate) -> tuple[float, str]:
    """Sort key: the best score first, ties by name."""
    return (math.inf if candidate.score is None else candidate.score, candidate.name)


def best_of_equal_values(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Returns the best candidate for each hyperparameter set, which Hyperband trains several times."""
    best: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=rank):
        best.setdefault(json.dumps(candidate.values, sort_keys=True), candidate)
    return sorted(best.values(), key=lambda each: each.name)


def name_of_trial(trial_id: str) -> str:
    """Returns the name of a candidate of the search."""
    number = f"{int(trial_id):04d}" if trial_id.isdigit() else trial_id  # KerasTuner's width depends on `max_trials`
    return f"{SEARCH}-{number}"


def name_of_run(parent: str, initialization: int) -> str:
    """Returns the name of another training run with the hyperparameters of `parent`, a candidate of the search."""
    return f"{INITIALIZATIONS}-{parent.removeprefix(f'{SEARCH}-')}-{initialization}"


def number_of_run(name: str) -> int:
    """Returns the index of a training run of the same hyperparameters."""
    return int(name.rpartition("-")[2])


def name_of_retraining(member: str) -> str:
    """Returns the name of the retraining of the member `member` on all data."""
    return f"{RETRAINING}-{member}"


def name_of_checkpoint(candidate: str, epoch: int) -> str:
    """Returns the name of the checkpoint of a candidate after an epoch, counted from 0."""
    return f"{CHECKPOINTS}-{candidate}-{epoch}"


def parent_of(name: str) -> str:
    """Returns the name of the candidate that defines the hyperparameters of the candidate `name`.

    For a checkpoint, it is the candidate of the epoch.
    """
    stage, _, rest = name.partition("-")
    if stage == RETRAINING:
        return rest
    if stage == CHECKPOINTS:
        return rest.rpartition("-")[0]
    return name if stage == SEARCH else f"{SEARCH}-{rest.rpartition('-')[0]}"
