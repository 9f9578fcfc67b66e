"""Stages of a search: search of candidates, training from several initializations, and retraining on all data."""

import json
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.candidate import DIVERGED
from keras_hyperens.search.candidate import INITIALIZATIONS
from keras_hyperens.search.candidate import RETRAINING
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate import name_of_retraining
from keras_hyperens.search.candidate import name_of_run
from keras_hyperens.search.candidate import rank
from keras_hyperens.search.checkpoints import CheckpointSelection
from keras_hyperens.search.checkpoints import without_ensemble_score
from keras_hyperens.search.directory import SearchDirectory
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.distributed.tuner_search import TunerSearch
from keras_hyperens.search.fold_recorder import CrossValidationRecorder
from keras_hyperens.search.grouped.group_search import groups_of
from keras_hyperens.search.member_choice import MemberChoice
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.session import Session
from keras_hyperens.search.settings import best_of
from keras_hyperens.search.training_rows import joined_rows
from keras_hyperens.search.trial_recorder import TrialRecorder
from keras_hyperens.search.tuners import RUN
from keras_hyperens.search.tuners import EnumeratingOracle
from keras_hyperens.search.tuners import make_tuner

SAME_FAILURES = 3  # equal failures at the beginning after which a stage stops


class Stages:
    """Trains the candidates of each stage.

    Args:
        directory: Directory of the search.
        choice: Selection among its candidates.
        session: The call, with its data.
    """

    def __init__(self, directory: SearchDirectory, choice: MemberChoice, session: Session) -> None:
        self.directory, self.choice, self.scorer, self.session = directory, choice, choice.scorer, session
        self.settings, self.pool = directory.settings, directory.pool
        self.seed = directory.seed or 0

    def search(self) -> None:
        """Trains candidates with any KerasTuner tuner."""
        recorder = self._recorder(SEARCH)
        tuner = self.settings.own_tuner
        if self.settings.is_searched:
            recorder.attach(tuner)
        else:
            given = self.settings.hyperparameters
            fixed = None if given is None else given.get_config()
            plan = json.loads(json.dumps({"max_trials": self.settings.max_trials, "hyperparameters": fixed}))
            self._run(self._search_tuner, recorder, plan, self.session.arguments)
        if tuner is not None:
            self._collect(tuner, recorder)
        else:
            self._drop_checkpoints()
        self._check_that_some_finished(SEARCH)

    def initializations(self) -> None:
        """Trains each of the best hyperparameter sets from several initializations."""
        if not self.settings.initializations:
            return
        chosen = self.choice.hyperparameter_sets()
        numbers = range(1, self.settings.initializations + 1)
        runs = [{**each.values, RUN: name_of_run(each.name, number)} for number in numbers for each in chosen]
        self._run_list(self._recorder(INITIALIZATIONS), runs, self.session.arguments)
        self._check_that_some_finished(INITIALIZATIONS)

    def retraining(self, members: Sequence[Candidate]) -> None:
        """Trains the members on training and validation data, each for the number of epochs of its best one."""
        arguments = dict(self.session.arguments)
        if self.session.cross_validation is None:
            names = ("x", "y", "sample_weight", "validation_data")
            arguments |= joined_rows(*(arguments.pop(name, None) for name in names))
        runs = [{**each.values, RUN: name_of_retraining(each.name)} for each in members]
        self.session.progress.planned[RETRAINING] = len(runs)
        recorder = TrialRecorder(**self._of_recorders(RETRAINING) | {"rows": None})
        recorder.epochs = {name_of_retraining(each.name): each.best_epoch + 1 for each in members}
        self._run_list(recorder, runs, arguments)

    def _search_tuner(self) -> keras_tuner.Tuner:
        settings = self.settings
        if settings.own_tuner is not None:
            return settings.own_tuner
        return make_tuner(
            settings.tuner,
            settings.hypermodel,
            self.pool.directory,
            SEARCH,
            objective=settings.objective,
            max_trials=settings.max_trials,
            hyperparameters=settings.hyperparameters,
            seed=self.seed,
            epochs=self.session.arguments.get("epochs", 100),
            strategy=settings.distribution_strategy,
        )

    def _run_list(self, recorder: TrialRecorder, runs: list[dict[str, Any]], arguments: dict[str, Any]) -> None:
        settings = self.settings

        def make() -> keras_tuner.Tuner:
            oracle = EnumeratingOracle(settings.objective, runs)
            directory, strategy = self.pool.directory, settings.distribution_strategy
            return make_tuner(oracle, settings.hypermodel, directory, recorder.stage, strategy=strategy)

        self._run(make, recorder, runs, arguments)

    def _run(
        self, make: Callable[[], keras_tuner.Tuner], recorder: TrialRecorder, plan: Any, arguments: dict[str, Any]
    ) -> None:
        session, is_new = self.session, self.directory.is_to_be_cleared
        if recorder.checkpoints is None:
            arguments = without_ensemble_score(arguments)
        search = TunerSearch(recorder, plan, self._on_end(recorder.stage), is_new, session.lease, session.patience)
        search.run(make, arguments, groups_of(self.settings, recorder, arguments, session.progress.say))

    def _recorder(self, stage: str) -> TrialRecorder:
        given, folds = self._of_recorders(stage), self.session.cross_validation
        if folds is None:
            return TrialRecorder(**given)
        return CrossValidationRecorder(**given, cross_validation=folds, refit=self.settings.refit)

    def _checkpoints(self, stage: str) -> CheckpointSelection | None:
        """Returns the selection among all epochs, if those of this stage can become members."""
        cannot = stage == RETRAINING or (stage == SEARCH and not self.settings.has_search_members)
        if self.settings.checkpoints == "best" or cannot:
            return None
        return CheckpointSelection(self.pool, self.choice.eligible, self.scorer.best_ensemble, self.scorer.score)

    def _of_recorders(self, stage: str) -> dict[str, Any]:
        settings, arguments = self.settings, self.session.arguments
        return {
            "pool": self.pool,
            "stage": stage,
            "rows": self.session.rows,
            "score": self.scorer.score,
            "seed": self.seed,
            "same_initialization": settings.same_initialization,
            "prediction_dtype": settings.prediction_dtype,
            "training_subset": settings.training_subset,
            "batch_size": arguments.get("validation_batch_size") or arguments.get("batch_size"),
            "checkpoints": self._checkpoints(stage),
            "goes_on_from_weights": stage == SEARCH and settings.tuner == "hyperband",
        }

    def _collect(self, tuner: keras_tuner.Tuner, recorder: TrialRecorder) -> None:
        """Creates candidates from the trials of an existing tuner."""
        for trial in tuner.oracle.trials.values():
            if trial.status == "COMPLETED" and self.pool.find(recorder.name_of(trial)) is None:
                recorder.collect(trial)
                self.session.progress.ended(SEARCH, self.pool.find(recorder.name_of(trial)))

    def _check_that_some_finished(self, stage: str) -> None:
        if not self.pool.finished(stage):
            raise ValueError(f"No candidate of the {stage} stage has finished: {self.pool.why_none(stage)}")

    def _on_end(self, stage: str) -> Callable[[str], None]:
        def ended(name: str) -> None:
            self.session.progress.ended(stage, self.pool.find(name))
            self._drop_worst()
            check_first_failures(self.pool, stage)

        return ended

    def _drop_checkpoints(self) -> None:
        """Deletes checkpoints that Hyperband continued from, of which candidates have copies."""
        if not is_worker():
            tuner_hooks.drop_checkpoints(files.join(self.pool.directory, SEARCH))

    def _drop_worst(self) -> None:
        number = best_of(self.settings.keep)
        if number is not None and not is_worker():
            finished = self.pool.finished(SEARCH, INITIALIZATIONS)
            self.pool.drop_weights(sorted(finished, key=rank)[number:])


def check_first_failures(pool: Pool, stage: str) -> None:
    """Stops a stage whose first candidates failed in the same way, and removes them, so that they are trained again.

    Raises:
        RuntimeError: If the stage is stopped. Divergence does not count as such a failure.
    """
    candidates = pool.candidates(stage)
    first = candidates[:SAME_FAILURES]
    reasons = {each.reason for each in first}
    if len(first) < SAME_FAILURES or len(candidates) > SAME_FAILURES or len(reasons) > 1:
        return
    reason = reasons.pop()
    if reason and not reason.startswith(DIVERGED):
        for each in first:
            pool.forget(each.name)
        raise RuntimeError(
            f"The first {SAME_FAILURES} candidates failed in the same way, so the search stops: correct the hypermodel "
            f"or the arguments of `fit`, and call again. Received: {first[0].failure}"
        )
