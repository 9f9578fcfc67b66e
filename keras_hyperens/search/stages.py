"""The stages of a builder's procedure, and what they share: the directory, the data, the tuners."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.likelihoods import named
from keras_hyperens.models import HyperDeepEnsemble
from keras_hyperens.search.assembly import trained_model
from keras_hyperens.search.candidate import name_of_retraining
from keras_hyperens.search.candidate import name_of_run
from keras_hyperens.search.candidate import number_of_run
from keras_hyperens.search.distributed.tuner_search import Stage
from keras_hyperens.search.grouped.group_search import groups_of
from keras_hyperens.search.oracle import RUN
from keras_hyperens.search.oracle import EnumeratingOracle
from keras_hyperens.search.pool import INITIALIZATIONS
from keras_hyperens.search.pool import RETRAINING
from keras_hyperens.search.pool import SEARCH
from keras_hyperens.search.pool import Candidate
from keras_hyperens.search.pool import rank
from keras_hyperens.search.processes import is_worker
from keras_hyperens.search.scorer import as_problem
from keras_hyperens.search.selection import Selection
from keras_hyperens.search.selection import greedy_selection
from keras_hyperens.search.session import Opening
from keras_hyperens.search.session import Run
from keras_hyperens.search.settings import best_of
from keras_hyperens.search.training_rows import compile_like
from keras_hyperens.search.training_rows import joined_rows
from keras_hyperens.search.trial_recorder import TrialRecorder
from keras_hyperens.search.tuner_hooks import check_first_failures
from keras_hyperens.search.tuners import make_tuner


class Procedure(Opening):
    """The working half of `HyperDeepEnsembleBuilder`. Abstract: the other half has the settings."""

    def select_hyperparameters(self) -> list[Candidate]:
        """The best sets of hyperparameters."""
        raise NotImplementedError

    def _run_search(self, run: Run) -> None:
        recorder = self._recorder(SEARCH, run)
        if self._is_searched:
            recorder.attach(self.tuner)
        else:
            fixed = None if self.hyperparameters is None else self.hyperparameters.get_config()
            plan = json.loads(json.dumps({"max_trials": self.max_trials, "hyperparameters": fixed}))
            tuner = self._run_stage(lambda: self._search_tuner(run), recorder, plan, run, run.arguments)
            if tuner is not self.tuner:
                self._drop_checkpoints()
                return self._check_that_some_finished(SEARCH)
        for trial in self.tuner.oracle.trials.values():
            if trial.status == "COMPLETED" and self.pool.find(recorder.name_of(trial)) is None:
                recorder.collect(trial)
                run.progress.ended(SEARCH, self.pool.find(recorder.name_of(trial)))
        self._check_that_some_finished(SEARCH)

    def _check_that_some_finished(self, stage: str) -> None:
        if not self.pool.finished(stage):
            raise ValueError(f"No candidate of the {stage} stage has finished: {self._why_none(stage)}")

    def _search_tuner(self, run: Run) -> keras_tuner.Tuner:
        if isinstance(self.tuner, keras_tuner.Tuner):
            return self.tuner
        return make_tuner(
            self.tuner,
            self.hypermodel,
            self.pool.directory,
            SEARCH,
            objective=self.objective,
            max_trials=self.max_trials,
            hyperparameters=self.hyperparameters,
            seed=self.seed or 0,
            epochs=run.arguments.get("epochs", 100),
            strategy=self.distribution_strategy,
        )

    def _run_initializations(self, run: Run) -> None:
        if not self.initializations:
            return
        runs = [
            {**each.values, RUN: name_of_run(each.name, number)}
            for number in range(1, self.initializations + 1)
            for each in self.select_hyperparameters()
        ]
        self._run_list(INITIALIZATIONS, runs, run, run.arguments)
        self._check_that_some_finished(INITIALIZATIONS)

    def _run_retraining(self, run: Run, members: list[Candidate]) -> None:
        arguments = dict(run.arguments)
        names = ("x", "y", "sample_weight", "validation_data")
        joined = joined_rows(*(arguments.pop(name, None) for name in names))
        runs = [{**each.values, RUN: name_of_retraining(each.name)} for each in members]
        run.progress.planned[RETRAINING] = len(runs)
        recorder = self._recorder(RETRAINING, run)
        recorder.rows = None
        recorder.epochs = {name_of_retraining(each.name): each.best_epoch + 1 for each in members}
        self._run_list(RETRAINING, runs, run, {**arguments, **joined}, recorder)

    def _run_list(
        self, stage: str, runs: list[dict], run: Run, arguments: dict, recorder: TrialRecorder | None = None
    ) -> None:
        def make() -> keras_tuner.Tuner:
            oracle = EnumeratingOracle(self.objective, runs)
            return make_tuner(oracle, self.hypermodel, self.pool.directory, stage, strategy=self.distribution_strategy)

        self._run_stage(make, recorder or self._recorder(stage, run), runs, run, arguments)

    def _run_stage(
        self, make: Callable[[], keras_tuner.Tuner], recorder: TrialRecorder, plan: Any, run: Run, arguments: dict
    ) -> keras_tuner.Tuner:
        stage = Stage(recorder, plan, self._on_end(recorder.stage, run), self.overwrite, run.lease, run.patience)
        return stage.run(make, arguments, groups_of(self, recorder, arguments, run.progress.say))

    def _recorder(self, stage: str, run: Run) -> TrialRecorder:
        return TrialRecorder(
            self.pool,
            stage,
            run.rows,
            self._score_of,
            self.seed or 0,
            self.same_initialization,
            self.prediction_dtype,
            self.training_subset,
            run.arguments.get("validation_batch_size") or run.arguments.get("batch_size"),
            goes_on_from_weights=stage == SEARCH and self.tuner == "hyperband",
        )

    def _on_end(self, stage: str, run: Run) -> Any:
        def ended(name: str) -> None:
            run.progress.ended(stage, self.pool.find(name))
            self._drop_worst()
            check_first_failures(self.pool, stage)

        return ended

    def _drop_checkpoints(self) -> None:
        """Those that Hyperband went on from: candidates have their own copies."""
        if not is_worker():
            project = files.join(self.pool.directory, SEARCH)
            for name in files.names(project, "trial_*"):
                files.remove(files.join(project, name, "checkpoint.weights.h5"))

    def _drop_worst(self) -> None:
        number = best_of(self.keep)
        if number is not None and not is_worker():
            finished = self.pool.finished(SEARCH, INITIALIZATIONS)
            self.pool.drop_weights(sorted(finished, key=rank)[number:])

    def _select(self, candidates: list[Candidate], size: int, metric: Any, **selection: Any) -> Selection:
        predictions = [self.pool.predictions(each) for each in candidates]
        targets = self._targets(candidates[0].outputs)
        problem = as_problem(predictions, targets, named(candidates[0].likelihoods), metric)
        return greedy_selection(**problem, ensemble_size=size, **selection)

    def _eligible(self) -> list[Candidate]:
        stages = [INITIALIZATIONS] + ([SEARCH] if self.include_search or not self.initializations else [])
        return self.pool.finished(*stages)

    def _runs_of_best_set(self) -> list[Candidate]:
        """Trainings of the best hyperparameters from different initializations, in their order."""
        best = self.select_hyperparameters()[0]
        runs = [each for each in self.pool.finished(INITIALIZATIONS) if each.parent == best.name]
        return sorted(runs, key=lambda each: number_of_run(each.name)) or [best]

    def _why_none(self, *stages: str) -> str:
        failures = [each for each in self.pool.candidates(*stages) if each.failure is not None]
        if not failures:
            return "no candidate has failed: call `search` first, or search more trials"
        first = failures[0]
        return f"{len(failures)} candidates failed or diverged, the first one ({first.name}) with: {first.reason}"

    def _say_if_a_better_one_was_not_kept(self, chosen: Selection, possible: Selection) -> None:
        if possible.trajectory[-1] < chosen.trajectory[-1]:
            warnings.warn(
                f"With all candidates' weights the validation score would be {possible.trajectory[-1]:.5g}, not "
                f"{chosen.trajectory[-1]:.5g}: keep more weights (now keep={self.keep!r})",
                stacklevel=3,
            )

    def weights_by_name(self) -> dict[str, float]:
        """The weight of each member of the last ensemble, by the candidate's name."""
        return {member.name: weight for member, weight in zip(self.members, self.member_weights)}

    def _assemble(self, members: list[Candidate], weights: Any, combination: Any) -> HyperDeepEnsemble:
        models = [
            trained_model(
                self.hypermodel,
                member.values,
                self.pool.weights_file(member),
                member.build_config,
                self.distribution_strategy,
            )
            for member in members
        ]
        for number, model in enumerate(models):
            model.name = f"member_{number}"  # a hypermodel gives all of them the same
        ensemble = HyperDeepEnsemble(
            models,
            member_weights=weights,
            combination=combination,
            output_activation=self.output_activation,
            member_hyperparameters=[member.values for member in members],
        )
        compile_like(ensemble, models[0])
        self.members, self.member_weights, self.combination = list(members), tuple(weights), combination
        if not is_worker():
            self._tidy({member.name for member in members})
        return ensemble

    def _tidy(self, chosen: set[str]) -> None:
        """Writes the table of candidates, and deletes what need not be kept, unless nothing can be written here."""
        try:
            self.pool.write_csv(self.weights_by_name())
            if self.keep == "selected":
                self.pool.drop_weights(each for each in self.pool.finished() if each.name not in chosen)
        except OSError as error:
            warnings.warn(f"{self.pool.directory} stays as it is, because it cannot be written: {error}", stacklevel=4)
