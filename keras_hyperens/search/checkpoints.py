"""Checkpoints: weights of further epochs of candidates, stored if the best ensemble so far contains them."""

import math
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_hyperens import files
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import named
from keras_hyperens.search.candidate import CHECKPOINTS
from keras_hyperens.search.candidate import INITIALIZATIONS
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate import name_of_checkpoint
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.selection import Selection

# Function from candidates' predictions of each output, and likelihoods and names of the outputs, to the best ensemble.
Choose = Callable[[Sequence[Sequence[np.ndarray]], Sequence[Likelihood], Sequence[str]], Selection]
Score = Callable[[list[np.ndarray], Sequence[Likelihood]], float]
WeightsOf = Callable[[str], list[np.ndarray]]
Predicted = tuple[dict[str, list[np.ndarray]], Sequence[Likelihood], Sequence[str]]


@dataclass(frozen=True)
class Checkpoint:
    """A member of the best ensemble so far.

    Attributes:
        predictions: Predictions of each output for the validation data.
        candidate: Name of a candidate in training; empty for a member on disk.
        epoch: Index of the epoch, from 0.
        weights: Result of `keras.Model.get_weights`; empty for a member on disk.
    """

    predictions: list[np.ndarray]
    candidate: str = ""
    epoch: int = 0
    weights: list[np.ndarray] = field(default_factory=list)


class CheckpointSelection:
    """Greedy selection among all epochs of all candidates during their training.

    After each epoch the selection is repeated among the members of the best ensemble so far and the candidates in
    training with their current weights. Weights that are not selected are discarded.

    Args:
        pool: Pool of the search.
        choose: Function that selects the best ensemble.
        score: Function that scores a candidate for its record.
    """

    def __init__(self, pool: Pool, choose: Choose, score: Score) -> None:
        self.pool, self.choose, self.score_of_one = pool, choose, score
        self.members: list[Checkpoint] = []
        self.score = math.inf  # of the ensemble

    def begin(self, names: Sequence[str]) -> None:
        """Selects the best ensemble among the candidates on disk, before candidates are trained.

        All other checkpoints are deleted, also those of interrupted training runs of the same candidates.

        Args:
            names: Names of the candidates.
        """
        for each in self.pool.finished(CHECKPOINTS):
            if each.parent in names:
                self._delete(each)
        finished = self.pool.finished(SEARCH, INITIALIZATIONS, CHECKPOINTS)
        found = [each for each in finished if self.pool.has_weights(each)]
        predictions = [self.pool.predictions(each) for each in found]
        self.members, self.score = [], math.inf
        if not found:
            return
        best = self.choose(predictions, named(found[0].likelihoods), found[0].outputs)
        self.members, self.score = [Checkpoint(predictions[index]) for index in best.members], best.trajectory[-1]
        for index, each in enumerate(found):
            if each.stage == CHECKPOINTS and index not in best.members:
                self._delete(each)

    def offer(self, epoch: int, predicted: Predicted, weights_of: WeightsOf) -> None:
        """Repeats the selection after an epoch; the members only change if the ensemble improves.

        Args:
            epoch: Index of the epoch.
            predicted: Predictions of candidates by name, and likelihoods and names of the outputs.
            weights_of: Function that returns the current weights of a candidate.
        """
        offered, likelihoods, outputs = predicted
        names = [name for name, found in offered.items() if all(np.isfinite(each).all() for each in found)]
        new = [Checkpoint(offered[name], name, epoch) for name in names]
        if not new:
            return
        everyone, before = [*self.members, *new], len(self.members)
        best = self.choose([each.predictions for each in everyone], likelihoods, outputs)
        if len(best.members) <= before and not best.trajectory[-1] < self.score:
            return
        self.score = best.trajectory[-1]
        chosen = [everyone[index] for index in best.members if index < before]
        taken = [everyone[index] for index in best.members if index >= before]
        self.members = chosen + [replace(each, weights=weights_of(each.candidate)) for each in taken]

    def write(self, candidate: Candidate, model: keras.Model) -> None:
        """Creates candidates from the selected epochs of a trained candidate, except its best epoch.

        Args:
            candidate: The candidate, with the weights of its best epoch.
            model: Model of the candidate; its weights are overwritten.
        """
        for each in self.members:
            if each.candidate == candidate.name and each.epoch != candidate.best_epoch and candidate.failure is None:
                self._write(each, candidate, model)

    def _write(self, checkpoint: Checkpoint, candidate: Candidate, model: keras.Model) -> None:
        name = name_of_checkpoint(candidate.name, checkpoint.epoch)
        model.set_weights(checkpoint.weights)
        weights = self.pool.place_of_weights(name)
        files.write_whole(files.join(self.pool.directory, weights), model.save_weights)
        own: dict[str, Any] = {"name": name, "stage": CHECKPOINTS, "parent": candidate.name, "weights": weights}
        score = self.score_of_one(checkpoint.predictions, named(candidate.likelihoods))
        own |= {"best_epoch": checkpoint.epoch, "metrics": {}, "seconds": 0.0, "score": score}
        self.pool.add(replace(candidate, **own), checkpoint.predictions)

    def _delete(self, candidate: Candidate) -> None:
        self.pool.discard(candidate)
        self.pool.drop_weights([candidate])


class Offers(keras.callbacks.Callback):
    """Callback that repeats a selection after each epoch.

    Args:
        selection: The selection.
        predict: Function that returns the current predictions for `CheckpointSelection.offer`.
        weights_of: Function that returns the current weights of a candidate.
    """

    def __init__(self, selection: CheckpointSelection, predict: Callable[[], Predicted], weights_of: WeightsOf) -> None:
        super().__init__()
        self.selection, self.predict, self.weights_of = selection, predict, weights_of

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.selection.offer(epoch, self.predict(), self.weights_of)
