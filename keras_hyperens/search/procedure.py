"""The stages of a builder's procedure, and what they share: the directory, the data, the tuners."""

import contextlib
import json
import random
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

from keras_hyperens import files
from keras_hyperens.models import HyperDeepEnsemble
from keras_hyperens.models.tuning import split_rows
from keras_hyperens.search.assembling import compile_like
from keras_hyperens.search.assembling import joined_rows
from keras_hyperens.search.data_digest import digest_of
from keras_hyperens.search.dry_run import check_scoring
from keras_hyperens.search.dry_run import check_training_data
from keras_hyperens.search.loading import trained_model
from keras_hyperens.search.lock import DirectoryLock
from keras_hyperens.search.model_facts import ModelFacts
from keras_hyperens.search.model_facts import facts_and_model
from keras_hyperens.search.names import name_of_retraining
from keras_hyperens.search.names import name_of_run
from keras_hyperens.search.names import number_of_run
from keras_hyperens.search.oracle import RUN
from keras_hyperens.search.oracle import EnumeratingOracle
from keras_hyperens.search.pool import INITIALIZATIONS
from keras_hyperens.search.pool import METRIC
from keras_hyperens.search.pool import RETRAINING
from keras_hyperens.search.pool import SEARCH
from keras_hyperens.search.pool import Candidate
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.pool import rank
from keras_hyperens.search.problem import Target
from keras_hyperens.search.problem import as_problem
from keras_hyperens.search.processes import is_distributed
from keras_hyperens.search.processes import is_worker
from keras_hyperens.search.progress import Progress
from keras_hyperens.search.recording import TrialRecorder
from keras_hyperens.search.selection import Selection
from keras_hyperens.search.selection import greedy_selection
from keras_hyperens.search.settings import best_of
from keras_hyperens.search.settings import text_of
from keras_hyperens.search.stage import Stage
from keras_hyperens.search.supervision import check_first_failures
from keras_hyperens.search.together import groups_of
from keras_hyperens.search.tuners import make_tuner
from keras_hyperens.search.validation import ValidationRows

FORMAT_VERSION = 1


@dataclass
class Run:
    """One call of the user's: the data, and how far it is."""

    rows: ValidationRows
    arguments: dict[str, Any]  # of `fit`
    progress: Progress
    lock: DirectoryLock


class Procedure:
    """The working half of `HyperDeepEnsembleBuilder`. Abstract: the other half has the settings."""

    hypermodel: keras_tuner.HyperModel
    objective: Any
    tuner: Any
    max_trials: int | None
    hyperparameters: keras_tuner.HyperParameters | None
    num_hyperparameter_sets: int
    initializations: int
    metric: Any
    output_activation: Any
    include_search: bool
    fixed_initialization: bool
    training_subset: float | None
    candidates_at_once: int
    keep: str
    prediction_dtype: str
    directory: Any
    project_name: str
    overwrite: bool
    seed: int | None
    distribution_strategy: Any
    pool: Pool
    members: list[Candidate]
    member_weights: tuple[float, ...]
    combination: Any
    _is_searched: bool
    _facts: ModelFacts | None
    _names: tuple[str, ...]  # of the outputs, in the order of labels that have names

    def select_hyperparameters(self) -> list[Candidate]:
        """The best sets of hyperparameters."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _begin(
        self,
        x: Any = None,
        y: Any = None,
        *,
        validation_data: Any = None,
        validation_split: float = 0.0,
        verbose: Any = 1,
        **arguments: Any,
    ) -> Iterator[Run]:
        """Checks all that can be checked before any work starts, and opens the directory, alone until the end."""
        if validation_split:
            parts = split_rows(x, y, arguments.pop("sample_weight", None), validation_split, "validation_split")
            (x, y, weights), validation_data = parts
            arguments |= {} if weights is None else {"sample_weight": weights}
        if validation_data is None:
            raise ValueError(
                "Candidates are compared on validation rows: give `validation_data` or `validation_split`. "
                "Received: neither"
            )
        if x is None and not (self._is_searched and not self.initializations):
            raise ValueError("Training needs `x`. Received: x=None")
        if self.training_subset is not None and not all(hasattr(leaf, "shape") for leaf in keras.tree.flatten((x, y))):
            raise ValueError(f"`training_subset` needs `x` and `y` as arrays. Received: x of type {type(x).__name__}")
        if isinstance(x, Iterator):
            raise ValueError(
                "Every candidate reads the training data anew: make a dataset of a generator, by "
                "`tf.data.Dataset.from_generator`, say. Received: a generator"
            )
        rows = ValidationRows(validation_data, self.output_activation)
        self._check(x, y, arguments.get("sample_weight"), rows)
        with self._locked() as lock:
            self._open_directory(self._identity(x, y, rows, arguments), rows)
            run = self._run(rows, arguments, x, y, validation_data, verbose, lock)
            yield run
            run.progress.close()

    def _run(
        self, rows: ValidationRows, arguments: Any, x: Any, y: Any, validation_data: Any, verbose: Any, lock: Any
    ) -> Run:
        arguments |= {"x": x, "validation_data": validation_data, "verbose": verbose if verbose == 2 else 0}
        if y is not None:
            arguments["y"] = y
        trials = None if isinstance(self.tuner, keras_tuner.Tuner) or self.tuner == "hyperband" else self.max_trials
        planned = {
            SEARCH: trials or 0,
            INITIALIZATIONS: self.num_hyperparameter_sets * self.initializations,
            RETRAINING: 0,
        }
        return Run(rows, arguments, Progress(planned, 0 if is_worker() else verbose), lock)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Any]:
        """The directory as that of this process alone; workers share that of their chief."""
        self.pool = self._pool()
        if self.overwrite and not is_worker():
            self.pool.check_overwritable()
        with contextlib.nullcontext() if is_worker() else DirectoryLock(self.pool.directory) as lock:
            yield lock

    def _pool(self) -> Pool:
        theirs = self.tuner.project_dir if isinstance(self.tuner, keras_tuner.Tuner) else None
        return Pool(files.join(self.directory, self.project_name), theirs)

    def _check(self, x: Any, y: Any, sample_weight: Any, rows: ValidationRows) -> None:
        """One scoring of a made-up prediction, so that what is wrong is found before the first training."""
        self._facts, model = facts_and_model(self.hypermodel, self.hyperparameters)
        self._names = tuple(rows.names or ())
        check_training_data(x, y, sample_weight, rows)
        targets = self._facts.targets(rows.labels, rows.weights, self._names)
        check_scoring(model, rows, targets, lambda made_up, kinds: self._score_of(made_up, kinds, targets), y)

    def _identity(self, x: Any, y: Any, rows: ValidationRows, arguments: dict[str, Any]) -> dict[str, Any]:
        """What makes a search another one."""
        of_data = {} if x is None else {"training data": digest_of((x, y, arguments.get("sample_weight")))}
        class_weight = arguments.get("class_weight")
        return {
            "format_version": FORMAT_VERSION,
            **self._identity_of_models(),
            **of_data,
            "class_weight": class_weight and {str(label): float(weight) for label, weight in class_weight.items()},
            "validation inputs": rows.inputs,
            "validation labels": rows.digest(),
            "fixed_initialization": self.fixed_initialization,
            "training_subset": self.training_subset,
            "epochs": arguments.get("epochs", 1),
            "batch_size": arguments.get("batch_size"),
            METRIC: text_of(self.metric),
        }

    def _identity_of_models(self) -> dict[str, Any]:
        """What is known of it without any data."""
        facts = self._model_facts()
        return {
            "space": facts.space,
            **facts.digests,
            "tuner": self.tuner if isinstance(self.tuner, str) else type(self.tuner).__name__,
            "objective": text_of(self.objective),
            "output_activation": text_of(self.output_activation),
        }

    def _model_facts(self) -> ModelFacts:
        """Those of the hypermodel, which must be the one that the search in the directory was begun with."""
        if self._facts is None:
            self._facts, _ = facts_and_model(self.hypermodel, self.hyperparameters)
            before = self.pool.identity()
            if before is not None:
                self.pool.check_identity(before, self._identity_of_models())
        return self._facts

    def _open_directory(self, identity: dict[str, Any], rows: ValidationRows) -> None:
        if self.seed is None and is_distributed():
            raise ValueError("Several processes must agree on a seed: set `seed`. Received: seed=None")
        if self.overwrite and not is_worker():
            self.pool.clear()
            self.overwrite = False
        before = self.pool.identity()
        if self.seed is None:
            self.seed = before["seed"] if before else random.randrange(2**31)
        now = {"seed": self.seed, **identity}
        if before is not None:
            self.pool.check_identity(before, now)
        if not is_worker():
            if before is None:
                self.pool.write_identity(now)  # first: it tells whose directory this is
            self.pool.write_labels(rows.labels, rows.weights)
            if before is not None and before.get(METRIC, now[METRIC]) != now[METRIC]:
                self._score_again()
            self.pool.write_identity({**(before or {}), **now})
            self.pool.forget_damaged()

    def _score_again(self) -> None:
        """By another metric than that of the search so far: predictions are on disk."""
        for candidate in self.pool.finished(SEARCH, INITIALIZATIONS):
            self.pool.change_score(candidate, self._score_of(self.pool.predictions(candidate), list(candidate.heads)))

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
        stage = Stage(recorder, plan, self._on_end(recorder.stage, run), is_new=self.overwrite)
        return stage.run(make, arguments, groups_of(self, recorder, arguments, run.progress.say))

    def _recorder(self, stage: str, run: Run) -> TrialRecorder:
        return TrialRecorder(
            self.pool,
            stage,
            run.rows,
            self._score_of,
            self.seed or 0,
            self.fixed_initialization,
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

    def _score_of(self, predictions: list[np.ndarray], kinds: list[Any], targets: list[Target] | None = None) -> float:
        if not all(np.isfinite(each).all() for each in predictions):
            return float("nan")
        problem = as_problem([predictions], targets or self._targets(), kinds, self.metric)
        return greedy_selection(**problem, ensemble_size=1).trajectory[0]

    def _select(self, candidates: list[Candidate], size: int, metric: Any, **selection: Any) -> Selection:
        predictions = [self.pool.predictions(each) for each in candidates]
        targets = self._targets(candidates[0].outputs)
        problem = as_problem(predictions, targets, candidates[0].heads, metric)
        return greedy_selection(**problem, ensemble_size=size, **selection)

    def _targets(self, names: tuple[str, ...] = ()) -> list[Target]:
        """What each output should be, in the order of their labels."""
        return self._model_facts().targets(self.pool.labels(), self.pool.weights(), names or self._names)

    def _eligible(self) -> list[Candidate]:
        stages = [INITIALIZATIONS] + ([SEARCH] if self.include_search or not self.initializations else [])
        return self.pool.finished(*stages)

    def _runs_of_best_set(self) -> list[Candidate]:
        """Trainings of the best hyperparameters from different initialisations, in their order."""
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
        ensemble = HyperDeepEnsemble(
            models,
            weights,
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
