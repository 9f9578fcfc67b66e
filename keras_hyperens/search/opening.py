"""How every call of a builder begins: what was given is checked, and the directory must belong to the same search."""

import contextlib
import random
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

from keras_hyperens import files
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import named
from keras_hyperens.models.tuning import split_rows
from keras_hyperens.sample_weights import check_class_weight
from keras_hyperens.search.data_digest import digest_of
from keras_hyperens.search.data_digest import has_dataset
from keras_hyperens.search.dry_run import check_objective
from keras_hyperens.search.dry_run import check_scoring
from keras_hyperens.search.dry_run import check_training_data
from keras_hyperens.search.lock import DirectoryLock
from keras_hyperens.search.model_facts import ModelFacts
from keras_hyperens.search.model_facts import facts_and_model
from keras_hyperens.search.pool import INITIALIZATIONS
from keras_hyperens.search.pool import METRIC
from keras_hyperens.search.pool import RETRAINING
from keras_hyperens.search.pool import SEARCH
from keras_hyperens.search.pool import Candidate
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.problem import Target
from keras_hyperens.search.problem import as_problem
from keras_hyperens.search.processes import is_distributed
from keras_hyperens.search.processes import is_worker
from keras_hyperens.search.progress import Progress
from keras_hyperens.search.selection import greedy_selection
from keras_hyperens.search.settings import LEASE
from keras_hyperens.search.settings import PATIENCE
from keras_hyperens.search.settings import check_waiting
from keras_hyperens.search.settings import text_of
from keras_hyperens.search.validation import ValidationRows

FORMAT_VERSION = 2
OF_FIT = ("batch_size", "initial_epoch", "shuffle", "steps_per_epoch", "validation_steps")  # that change results


@dataclass
class Run:
    """One call of the user's: the data, and how far it is."""

    rows: ValidationRows
    arguments: dict[str, Any]  # of `fit`
    progress: Progress
    lock: DirectoryLock
    lease: float = LEASE  # of workers, in seconds
    patience: float = PATIENCE


class Opening:
    """The first part of `HyperDeepEnsembleBuilder`: data, directory, and what is known of the models. Abstract."""

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
    same_initialization: bool
    training_subset: float | None
    candidates_at_once: int
    keep: str | int
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

    @contextlib.contextmanager
    def _begin(
        self,
        x: Any = None,
        y: Any = None,
        *,
        validation_data: Any = None,
        validation_split: float = 0.0,
        verbose: Any = 1,
        lease: float = LEASE,
        patience: float = PATIENCE,
        **arguments: Any,
    ) -> Iterator[Run]:
        """Checks all that can be checked before any work starts, and opens the directory, alone until the end."""
        check_waiting(lease, patience)
        check_class_weight(arguments.get("class_weight"))
        if validation_split:
            if validation_data is not None:
                raise ValueError("Give `validation_data` or `validation_split`, not both. Received: both")
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
        batch_size = arguments.get("validation_batch_size") or arguments.get("batch_size")
        model = self._check(x, y, arguments.get("sample_weight"), rows, batch_size)
        reports_more = arguments.get("callbacks") or type(self.hypermodel).fit is not keras_tuner.HyperModel.fit
        if isinstance(self.tuner, str) and not reports_more:
            check_objective(model, rows, self.objective)
        with self._locked() as lock:
            self._open_directory(self._identity(x, y, rows, arguments), rows)
            run = self._run(rows, arguments, x, y, validation_data, verbose, lock)
            run.lease, run.patience = lease, patience
            if has_dataset((x, y)) and self.pool.candidates():
                run.progress.say(
                    "goes on with what is in the directory; of a dataset as training data only shapes and the number "
                    "of batches were compared: after a change of its samples use overwrite=True"
                )
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

    def _check(
        self, x: Any, y: Any, sample_weight: Any, rows: ValidationRows, batch_size: int | None = None
    ) -> keras.Model:
        """One scoring of a made-up prediction, so that what is wrong is found before the first training."""
        self._facts, model = facts_and_model(self.hypermodel, self.hyperparameters)
        self._names = tuple(rows.names or ())
        check_training_data(x, y, sample_weight, rows)
        self._check_scoring(model, y, rows)
        if rows.leave_out_masked(model, batch_size):
            self._check_scoring(model, y, rows)  # there are weights now
        return model

    def _check_scoring(self, model: keras.Model, y: Any, rows: ValidationRows) -> None:
        targets = self._model_facts().targets(rows.labels, rows.weights, self._names)
        check_scoring(
            model, rows, targets, lambda made_up, likelihoods: self._score_of(made_up, likelihoods, targets), y
        )

    def _identity(self, x: Any, y: Any, rows: ValidationRows, arguments: dict[str, Any]) -> dict[str, Any]:
        """What makes a search another one."""
        of_data = {} if x is None else {"training data": digest_of((x, y, arguments.get("sample_weight")))}
        class_weight = arguments.get("class_weight")
        return {
            "format_version": FORMAT_VERSION,
            **self._identity_of_models(self._model_facts()),
            **of_data,
            "class_weight": class_weight and {str(label): float(weight) for label, weight in class_weight.items()},
            "validation inputs": rows.inputs,
            "validation labels": rows.digest(),
            "same_initialization": self.same_initialization,
            "training_subset": self.training_subset,
            "epochs": arguments.get("epochs", 1),
            **{name: text_of(arguments.get(name)) for name in OF_FIT},
            METRIC: text_of(self.metric),
        }

    def _identity_of_models(self, facts: ModelFacts) -> dict[str, Any]:
        """What is known of it without any data."""
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
            facts, _ = facts_and_model(self.hypermodel, self.hyperparameters)
            before = self.pool.identity()
            if before is not None:
                self.pool.check_identity(before, self._identity_of_models(facts))
            self._facts = facts
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
            self.pool.change_score(
                candidate, self._score_of(self.pool.predictions(candidate), named(candidate.likelihoods))
            )

    def _score_of(
        self, predictions: list[np.ndarray], likelihoods: Sequence[Likelihood], targets: list[Target] | None = None
    ) -> float:
        if not all(np.isfinite(each).all() for each in predictions):
            return float("nan")
        problem = as_problem([predictions], targets or self._targets(), likelihoods, self.metric)
        return greedy_selection(**problem, ensemble_size=1).trajectory[0]

    def _targets(self, names: tuple[str, ...] = ()) -> list[Target]:
        """What each output should be, in the order of their labels."""
        return self._model_facts().targets(self.pool.labels(), self.pool.weights(), names or self._names)
