"""A session of a builder: one call with data, which is checked before any work starts, in an open directory."""

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner

from keras_hyperens.models.data import split_rows
from keras_hyperens.sample_weights import check_class_weight
from keras_hyperens.search.candidate import INITIALIZATIONS
from keras_hyperens.search.candidate import RETRAINING
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.checkpoints import ENSEMBLE_SCORE
from keras_hyperens.search.checkpoints import monitors_ensemble
from keras_hyperens.search.cross_validation import CrossValidation
from keras_hyperens.search.digests import has_dataset
from keras_hyperens.search.directory import DirectoryLock
from keras_hyperens.search.directory import SearchDirectory
from keras_hyperens.search.display import Progress
from keras_hyperens.search.distributed.processes import is_distributed
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.dry_run import check_objective
from keras_hyperens.search.dry_run import check_scoring
from keras_hyperens.search.dry_run import check_training_data
from keras_hyperens.search.scorer import Scorer
from keras_hyperens.search.settings import LEASE
from keras_hyperens.search.settings import PATIENCE
from keras_hyperens.search.settings import Settings
from keras_hyperens.search.settings import check_apart
from keras_hyperens.search.settings import check_waiting
from keras_hyperens.search.validation_rows import ValidationRows


@dataclass
class Session:
    """Arguments and progress of a call.

    Attributes:
        rows: The validation data; with cross-validation the held-out samples of the folds.
        cross_validation: The folds, or `None`.
        arguments: Arguments of `fit`.
        progress: Progress of all stages.
        lock: Lock of the directory; `None` in a worker.
        lease, patience: Timeouts of workers, in seconds.
    """

    rows: ValidationRows
    cross_validation: CrossValidation | None
    arguments: dict[str, Any]
    progress: Progress
    lock: DirectoryLock | None
    lease: float
    patience: float


@contextlib.contextmanager
def opened_session(
    directory: SearchDirectory,
    scorer: Scorer,
    x: Any = None,
    y: Any = None,
    *,
    validation_data: Any = None,
    validation_split: float = 0.0,
    groups: Any = None,
    verbose: Any = 1,
    lease: float = LEASE,
    patience: float = PATIENCE,
    **arguments: Any,
) -> Iterator[Session]:
    """Runs all checks before any work starts, and locks the directory until the end.

    Args:
        directory, scorer: Directory and scorer of the search.
        x, y, validation_data, validation_split, groups, verbose, lease, patience, **arguments: As in
            `HyperDeepEnsembleBuilder.search`.
    """
    settings = directory.settings
    check_waiting(lease, patience)
    if is_distributed():
        check_apart(settings)
    check_class_weight(arguments.get("class_weight"))
    if validation_split:
        if validation_data is not None:
            raise ValueError("Set `validation_data` or `validation_split`, not both. Received: both")
        parts = split_rows(x, y, arguments.pop("sample_weight", None), validation_split, "validation_split")
        (x, y, weights), validation_data = parts
        arguments |= {} if weights is None else {"sample_weight": weights}
    folds = _folds(directory, (x, y, arguments.get("sample_weight")), groups, validation_data)
    validation_data = validation_data if folds is None else folds.held_out
    _check_given(settings, x, y, validation_data)
    _check_epochs(settings, arguments.get("callbacks") or ())
    rows = ValidationRows(validation_data, settings.output_activation)
    _check_fit(directory, scorer, rows, x, y, arguments)
    with directory.locked() as lock:
        directory.open(
            directory.identity(x, y, rows, arguments, None if folds is None else folds.digest()),
            rows,
            scorer.score_again,
        )
        progress = Progress(_planned(settings), 0 if is_worker() else verbose)
        if has_dataset((x, y)) and directory.pool.candidates():
            progress.say(
                "resumes the search in the directory; for a training dataset only shapes and the number "
                "of batches were compared: after a change of its samples use overwrite=True"
            )
        of_fit = validation_data if folds is None else None
        arguments |= {"x": x, "validation_data": of_fit, "verbose": verbose if verbose == 2 else 0}
        arguments |= {} if y is None else {"y": y}
        yield Session(rows, folds, arguments, progress, lock, lease, patience)
        progress.close()


def _folds(directory: SearchDirectory, samples: Any, groups: Any, validation_data: Any) -> CrossValidation | None:
    settings = directory.settings
    if settings.cross_validation is None:
        if groups is not None:
            raise ValueError("`groups` require `cross_validation`. Received: groups, cross_validation=None")
        return None
    if validation_data is not None:
        raise ValueError(
            "With `cross_validation` the folds hold out samples: remove `validation_data` and `validation_split`, and "
            f"pass all samples as `x` and `y`. Received: cross_validation={settings.cross_validation!r} and "
            "validation data"
        )
    seed = directory.settled_seed()
    return CrossValidation(settings.cross_validation, samples, groups, seed, settings.output_activation)


def _check_given(settings: Settings, x: Any, y: Any, validation_data: Any) -> None:
    if validation_data is None:
        raise ValueError(
            "Candidates are compared on validation data: pass `validation_data` or `validation_split`. "
            "Received: neither"
        )
    if x is None and not (settings.is_searched and not settings.initializations):
        raise ValueError("Training requires `x`. Received: x=None")
    if settings.training_subset is not None and not all(hasattr(leaf, "shape") for leaf in keras.tree.flatten((x, y))):
        raise ValueError(f"`training_subset` requires `x` and `y` as arrays. Received: x of type {type(x).__name__}")
    if isinstance(x, Iterator):
        raise ValueError(
            "Every candidate reads the training data again: convert a generator to a dataset, for example with "
            "`tf.data.Dataset.from_generator`. Received: a generator"
        )


def _check_epochs(settings: Settings, callbacks: Sequence[Any]) -> None:
    """Raises a `ValueError` if the call requires a selection among epochs that the settings exclude."""
    if settings.checkpoints == "best" and any(map(monitors_ensemble, callbacks)):
        raise ValueError(
            f'Callbacks can only monitor {ENSEMBLE_SCORE!r} with `checkpoints="ensemble"`. Received: checkpoints="best"'
        )
    executions = 1 if settings.is_searched else getattr(settings.own_tuner, "executions_per_trial", 1)
    if settings.checkpoints != "best" and executions > 1:
        raise ValueError(
            "Epochs of a candidate are only distinct with one training run per trial: use `executions_per_trial=1` or "
            f'`checkpoints="best"`. Received: executions_per_trial={executions}, checkpoints={settings.checkpoints!r}'
        )


def _check_fit(
    directory: SearchDirectory, scorer: Scorer, rows: ValidationRows, x: Any, y: Any, arguments: dict[str, Any]
) -> None:
    """Scores an untrained model, to detect errors before the first training run."""
    settings, model = directory.settings, directory.look_at_models()
    scorer.label_names = tuple(rows.names or ())
    check_training_data(x, y, arguments.get("sample_weight"), rows)
    _check_scoring(scorer, model, rows, y)
    if rows.leave_out_masked(model, arguments.get("validation_batch_size") or arguments.get("batch_size")):
        _check_scoring(scorer, model, rows, y)  # now with weights
    reports_more = arguments.get("callbacks") or type(settings.hypermodel).fit is not keras_tuner.HyperModel.fit
    if isinstance(settings.tuner, str) and not reports_more:
        check_objective(model, rows, settings.objective)


def _check_scoring(scorer: Scorer, model: keras.Model, rows: ValidationRows, y: Any) -> None:
    targets = scorer.targets(rows.labels, rows.weights)
    check_scoring(model, rows, targets, lambda made_up, likelihoods: scorer.score(made_up, likelihoods, targets), y)


def _planned(settings: Settings) -> dict[str, int]:
    """Returns the number of candidates of each stage; 0 if only the tuner determines it."""
    trials = 0 if settings.own_tuner is not None or settings.tuner == "hyperband" else settings.max_trials or 0
    sets = settings.num_hyperparameter_sets
    return {SEARCH: trials, INITIALIZATIONS: sets * settings.initializations, RETRAINING: 0}
