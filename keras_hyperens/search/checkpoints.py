"""Checkpoints: weights of further epochs of candidates, stored if the best ensemble so far contains them."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_hyperens import files
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import named
from keras_hyperens.search.best_ensemble import BestEnsemble
from keras_hyperens.search.best_ensemble import Checkpoint
from keras_hyperens.search.best_ensemble import Choose
from keras_hyperens.search.candidate import CHECKPOINTS
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate import name_of_checkpoint
from keras_hyperens.search.pool import Pool

ENSEMBLE = "ensemble.json"  # file: the members after each of the last two training runs
ENSEMBLE_SCORE = "val_ensemble_score"  # in the logs of an epoch

Score = Callable[[list[np.ndarray], Sequence[Likelihood]], float]
WeightsOf = Callable[[str], list[np.ndarray]]
Predicted = tuple[dict[str, list[np.ndarray]], Sequence[Likelihood], Sequence[str]]


class CheckpointSelection:
    """Greedy selection among all epochs of all candidates during their training.

    After each epoch the selection is repeated among the members of the best ensemble so far and the candidates in
    training with their current weights. Weights that are not selected are discarded. A file in the directory has the
    names of the members after the last training run, with which the next one continues.

    Args:
        pool: Pool of the search.
        eligible: Function that returns the candidates that can become members.
        choose: Function that selects the best ensemble.
        score: Function that scores a candidate for its record.

    Attributes:
        best: The best ensemble so far.
        own: The best ensemble of the epochs of the current training run.
    """

    def __init__(self, pool: Pool, eligible: Callable[[], list[Candidate]], choose: Choose, score: Score) -> None:
        self.pool, self.eligible, self.choose, self.score_of_one = pool, eligible, choose, score
        self.best, self.own = BestEnsemble(choose), BestEnsemble(choose)
        self.before: list[dict[str, list[str]]] = []  # the entry of the file with which the training run began

    def begin(self, names: Sequence[str]) -> None:
        """Reads the members so far, before candidates are trained; without any, selects among all candidates on disk.

        All other checkpoints are deleted, also those of interrupted training runs of the same candidates.

        Args:
            names: Names of the candidates.
        """
        for each in self.pool.finished(CHECKPOINTS):
            if each.parent in names:
                self._delete(each)
        self.best, self.own = BestEnsemble(self.choose), BestEnsemble(self.choose)
        self.before = self._last_recorded()
        found = self.eligible()
        if self.before:
            found = [each for each in found if each.name in self.before[0]["members"]]
        found = [each for each in found if self.pool.has_weights(each)]
        if found:
            members = [Checkpoint(self.pool.predictions(each), each.name) for each in found]
            self.best.offer(members, named(found[0].likelihoods), found[0].outputs)
        used = {each.name for each in self.best.members}
        for each in self.pool.finished(CHECKPOINTS):
            if each.name not in used:
                self._delete(each)

    def _last_recorded(self) -> list[dict[str, list[str]]]:
        """Returns the last entry of the file whose candidates are all recorded, in a list, which may be empty."""
        file = self._file()
        try:
            entries = files.read_json(file) if files.exists(file) else []
        except files.Damaged:
            return []
        whole = [each for each in entries if all(map(self.pool.find, each["trained"]))]
        return whole[-1:]

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
        self.own.offer(new, likelihoods, outputs)
        if self.best.offer(new, likelihoods, outputs):
            self.best.members = [
                each if each.is_stored else replace(each, weights=weights_of(each.name)) for each in self.best.members
            ]

    def end(self, candidates: Sequence[Candidate]) -> None:
        """Writes the names of the members after a training run, before the records of its candidates are written.

        Args:
            candidates: The trained candidates. If all failed, the members are those before the training run.
        """
        trained = {each.name: each for each in candidates}
        if all(each.failure is not None for each in candidates):
            return
        named_so = [_name_on_disk(each, trained.get(each.name)) for each in self.best.members]
        entry = {"trained": list(trained), "members": [name for name in named_so if name is not None]}
        files.write_json(self._file(), [*self.before, entry])

    def write(self, candidate: Candidate, model: keras.Model) -> None:
        """Creates candidates from the selected epochs of a trained candidate, except its best epoch.

        Args:
            candidate: The candidate, with the weights of its best epoch.
            model: Model of the candidate; its weights are overwritten.
        """
        for each in self.best.members:
            is_own = each.name == candidate.name and candidate.failure is None
            if is_own and each.epoch is not None and each.epoch != candidate.best_epoch:
                self._write(each, each.epoch, candidate, model)

    def _write(self, checkpoint: Checkpoint, epoch: int, candidate: Candidate, model: keras.Model) -> None:
        name = name_of_checkpoint(candidate.name, epoch)
        model.set_weights(checkpoint.weights)
        weights = self.pool.place_of_weights(name)
        files.write_whole(files.join(self.pool.directory, weights), model.save_weights)
        own: dict[str, Any] = {"name": name, "stage": CHECKPOINTS, "parent": candidate.name, "weights": weights}
        score = self.score_of_one(checkpoint.predictions, named(candidate.likelihoods))
        own |= {"best_epoch": epoch, "metrics": {}, "seconds": 0.0, "score": score}
        self.pool.add(replace(candidate, **own), checkpoint.predictions)

    def _file(self) -> str:
        return files.join(self.pool.directory, ENSEMBLE)

    def _delete(self, candidate: Candidate) -> None:
        self.pool.discard(candidate)
        self.pool.drop_weights([candidate])


class Offers(keras.callbacks.Callback):
    """Callback that repeats a selection after each epoch, and adds the score of its ensemble to the logs.

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
        if logs is not None:
            logs[ENSEMBLE_SCORE] = self.selection.own.score


def monitors_ensemble(callback: Any) -> bool:
    """Whether a callback monitors the score of the ensemble."""
    return getattr(callback, "monitor", None) == ENSEMBLE_SCORE


def without_ensemble_score(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments of `fit` for a stage without this selection."""
    kept = [each for each in arguments.get("callbacks") or () if not monitors_ensemble(each)]
    return {**arguments, "callbacks": kept} if "callbacks" in arguments else arguments


def _name_on_disk(member: Checkpoint, trained: Candidate | None) -> str | None:
    """Returns the name of the candidate on disk for a member, `None` if its training has failed."""
    if member.epoch is None or trained is None:
        return member.name
    if trained.failure is not None:
        return None
    return member.name if member.epoch == trained.best_epoch else name_of_checkpoint(member.name, member.epoch)
