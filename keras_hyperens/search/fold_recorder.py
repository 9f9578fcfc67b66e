"""Recorder of a stage with cross-validation: joins the training runs of the folds to one candidate."""

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from dataclasses import replace
from typing import Any

import keras_tuner
import numpy as np

from keras_hyperens import files
from keras_hyperens.likelihoods import named
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.cross_validation import CrossValidation
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.pool import FOLDS
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.trial_recorder import Found
from keras_hyperens.search.trial_recorder import TrialRecorder
from keras_hyperens.search.validation_rows import ValidationRows

REFIT = "refit"


@dataclass
class PartRecorder(TrialRecorder):
    """Runs one part of each trial: the training on one fold, or on all samples.

    Its candidates are in a separate pool, from which an interrupted search resumes.

    Args:
        part: Name of the part.
    """

    part: str = field(kw_only=True)

    def name_of(self, trial: Any) -> str:
        return f"{super().name_of(trial)}-{self.part}"

    def known_of(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        return super().known_of(name, values) | {"parent": name.removesuffix(f"-{self.part}")}

    def keep_weights(self, name: str, checkpoint: str, trial: Any) -> str:
        return self.pool.take_weights(name, checkpoint, leave=False)


@dataclass
class CrossValidationRecorder(TrialRecorder):
    """Runs the trials of a stage, each on all folds, one after the other.

    Args:
        cross_validation: The folds.
        refit: Whether a network that is trained on all samples replaces the networks of the folds.
    """

    cross_validation: CrossValidation = field(kw_only=True)
    refit: bool = field(kw_only=True)

    def __post_init__(self) -> None:
        self.parts = Pool(files.join(self.pool.directory, FOLDS))
        if not is_worker():
            self.parts.forget_damaged()
        of_folds = self.cross_validation.of_folds
        self.of_folds = [self._part(f"fold-{number}", each.rows) for number, each in enumerate(of_folds)]
        self.of_all = self._part(REFIT, None)
        for part in () if is_worker() else self.parts.candidates():  # of an interruption after the record
            candidate = self.pool.find(part.parent)
            if candidate is not None:
                self._tidy(candidate)

    def _part(self, name: str, rows: ValidationRows | None) -> PartRecorder:
        shared = {each.name: getattr(self, each.name) for each in fields(TrialRecorder) if each.init}
        return PartRecorder(**{**shared, "pool": self.parts, "rows": rows, "score": unscored}, part=name)

    def attach(self, tuner: keras_tuner.Tuner) -> None:
        for recorder in (*self.of_folds, self.of_all):
            recorder.attach(tuner)
        super().attach(tuner)

    def trainings(self, arguments: dict[str, Any]) -> Iterator[tuple[TrialRecorder, dict[str, Any]]]:
        for recorder, of_fold in zip(self.of_folds, self.cross_validation.of_folds, strict=True):
            yield recorder, {**arguments, **of_fold.arguments()}

    def _trained(self, known: dict[str, Any], trial: Any, args: Any, kwargs: Any) -> Found:
        arguments = dict(zip(("x", "y"), args), **kwargs)
        parts = list(self._trained_parts(trial, arguments))
        candidate, predictions = self._joined(known, parts)
        if self.refit and candidate.failure is None:
            self.of_all.epochs = {self.of_all.name_of(trial): candidate.best_epoch + 1}
            parts.append(self._run_part(self.of_all, trial, without_validation(arguments)))
        return self._with_weights(candidate, parts), predictions

    def add(self, found: Sequence[Found]) -> None:
        super().add(found)
        for candidate, _ in found:
            self._tidy(candidate)

    def _trained_parts(self, trial: Any, arguments: dict[str, Any]) -> Iterator[Candidate]:
        """Trains the folds, up to the first failure."""
        for recorder, of_fold in self.trainings(arguments):
            part = self._run_part(recorder, trial, of_fold)
            yield part
            if part.failure is not None:
                return

    def _run_part(self, recorder: TrialRecorder, trial: Any, arguments: dict[str, Any]) -> Candidate:
        recorder.attach(self.tuner)
        try:
            with contextlib.suppress(keras_tuner.errors.FailedTrialError):  # its record contains the failure
                recorder.run_trial(trial, **arguments)
        finally:
            super().attach(self.tuner)
        part = self.parts.find(recorder.name_of(trial))
        if part is None:
            raise FileNotFoundError(f"The record of {recorder.name_of(trial)} was deleted by another process")
        return part

    def _joined(self, known: dict[str, Any], parts: Sequence[Candidate]) -> tuple[Candidate, list[np.ndarray]]:
        """Returns the candidate of these folds, without weights, and its out-of-fold predictions."""
        if parts[-1].failure is not None:
            return Candidate(**known, failure=parts[-1].failure), []
        first = parts[0]
        of_outputs = zip(*map(self.parts.predictions, parts), strict=True)
        predictions = [self.cross_validation.joined(of_folds) for of_folds in of_outputs]
        sizes = [len(each.held_out) for each in self.cross_validation.folds]
        metrics = {n: float(np.average([part.metrics[n] for part in parts], weights=sizes)) for n in first.metrics}
        score = self.score(predictions, named(first.likelihoods))
        joined = replace(
            first,
            **known,
            score=score,
            metrics=metrics,
            best_epoch=int(np.median([part.best_epoch for part in parts])),
            failure=self._divergence(metrics, score),
            weights="",
        )
        return joined, predictions

    def _with_weights(self, candidate: Candidate, parts: Sequence[Candidate]) -> Candidate:
        seconds = round(sum(part.seconds for part in parts), 3)
        failure = candidate.failure or parts[-1].failure
        if failure is not None:
            return replace(candidate, seconds=seconds, failure=failure)
        found = [files.relative(self.parts.weights_files(part)[0], self.pool.directory) for part in parts]
        weights = {"weights": found[-1]} if self.refit else {"fold_weights": tuple(found)}
        return replace(candidate, seconds=seconds, **weights)

    def _tidy(self, candidate: Candidate) -> None:
        """Deletes the records of all its parts, and weights that the candidate does not use."""
        used = {*self.pool.weights_files(candidate)}
        for recorder in (*self.of_folds, self.of_all):
            part = self.parts.find(f"{candidate.name}-{recorder.part}")
            if part is None:
                continue
            self.parts.discard(part)
            if not used & {*self.parts.weights_files(part)}:
                self.parts.drop_weights([part])


def unscored(*of_predictions: Any) -> None:
    """Score of a part: `None`, because only a complete candidate has a score."""


def without_validation(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments of `fit` for training on all samples, without callbacks that monitor validation metrics."""
    callbacks = arguments.get("callbacks") or []
    kept = [each for each in callbacks if not str(getattr(each, "monitor", "")).startswith("val_")]
    return {**arguments, "validation_data": None, "callbacks": kept}
