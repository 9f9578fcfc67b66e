"""Settings of a builder, and their checks."""

from dataclasses import dataclass
from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number
from keras_hyperens.likelihoods import check_output_activation
from keras_hyperens.search.folds import check_cross_validation
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.scores import SCORES
from keras_hyperens.search.tuners import TUNERS

LEASE, PATIENCE = 15.0, 900.0  # seconds: timeouts of a worker, and of the chief
CHECKPOINTS_OF = ("best", "ensemble")  # best epochs of candidates, or epochs of the best ensemble
SHORTEST_LEASE = 3.0  # workers contact the chief about once a second


@dataclass(kw_only=True)
class Settings:
    """Checked arguments of `HyperDeepEnsembleBuilder`, with their defaults.

    Raises:
        TypeError, ValueError: If an argument is out of range.
    """

    hypermodel: keras_tuner.HyperModel
    ensemble_size: int
    objective: Any
    tuner: str | keras_tuner.Oracle | keras_tuner.Tuner
    max_trials: int | None
    hyperparameters: keras_tuner.HyperParameters | None
    search_pool_size: int | None
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
    directory: files.Path
    project_name: str
    overwrite: bool
    seed: int | None
    distribution_strategy: Any
    cross_validation: Any
    refit: bool
    checkpoints: str
    is_searched: bool = False  # whether the tuner is already finished

    def __post_init__(self) -> None:
        check_tuner(self.tuner, self.max_trials)
        if self.own_tuner is not None:
            self.objective = self.own_tuner.oracle.objective
        check_project_name(self.project_name)
        _check_ranges(self)

    @property
    def own_tuner(self) -> Any:
        """The tuner object of the user; `None` for a name or an oracle."""
        return self.tuner if isinstance(self.tuner, keras_tuner.Tuner) else None

    @property
    def has_search_members(self) -> bool:
        """Whether candidates of the search can become members: without initializations there are no others."""
        return self.include_search or not self.initializations

    def pool(self) -> Pool:
        """The candidates in the directory."""
        theirs = None if self.own_tuner is None else self.own_tuner.project_dir
        return Pool(files.join(self.directory, self.project_name), theirs)


def _check_ranges(settings: Settings) -> None:
    """Raises a `ValueError` for an argument of `HyperDeepEnsembleBuilder` that is out of range."""
    lowest = {"ensemble_size": 1, "num_hyperparameter_sets": 1, "initializations": 0, "search_pool_size": 1, "seed": 0}
    lowest["candidates_at_once"] = 1
    for name, least in lowest.items():
        value = getattr(settings, name)
        if not (is_integer(value) and value >= least) and not (value is None and name in ("seed", "search_pool_size")):
            raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}")
    share = settings.training_subset
    if share is not None and not (is_number(share) and 0 < share <= 1):
        raise ValueError(f"`training_subset` must be in (0, 1]. Received: training_subset={share!r}")
    if settings.prediction_dtype not in ("float32", "float16"):
        raise ValueError(
            '`prediction_dtype` must be "float32" or "float16". '
            f"Received: prediction_dtype={settings.prediction_dtype!r}"
        )
    if not settings.objective or not isinstance(settings.objective, str | list | keras_tuner.Objective):
        raise ValueError(
            "`objective` must be a name, a `keras_tuner.Objective`, or a list of these. "
            f"Received: objective={settings.objective!r}"
        )
    best_of(settings.keep)
    check_metric(settings.metric)
    check_output_activation(settings.output_activation)
    if settings.checkpoints not in CHECKPOINTS_OF:
        raise ValueError(
            f"`checkpoints` must be one of {CHECKPOINTS_OF}. Received: checkpoints={settings.checkpoints!r}"
        )
    _check_folds(settings)
    trained = (settings.max_trials or 0) + settings.num_hyperparameter_sets * settings.initializations
    if settings.tuner == "random" and trained < settings.ensemble_size:
        raise ValueError(
            "There must be at least as many candidates as members: increase `max_trials` or `initializations`. "
            f"Received: ensemble_size={settings.ensemble_size}, at most {trained} candidates"
        )


def _check_folds(settings: Settings) -> None:
    """Raises a `ValueError` unless the settings of cross-validation are valid."""
    if not isinstance(settings.refit, bool):
        raise ValueError(f"`refit` must be True or False. Received: refit={settings.refit!r}")
    if settings.cross_validation is None:
        return
    check_cross_validation(settings.cross_validation)
    if settings.checkpoints != "best":
        raise ValueError(
            'Epochs can only be compared after all folds: use `checkpoints="best"` with `cross_validation`. '
            f"Received: checkpoints={settings.checkpoints!r}"
        )
    if settings.own_tuner is not None or settings.tuner == "hyperband":
        raise ValueError(
            "With `cross_validation` a trial has several networks, but Hyperband and tuner objects continue a single "
            "one: pass another tuner by name, or an oracle. "
            f"Received: tuner={settings.tuner!r}, cross_validation={settings.cross_validation!r}"
        )


def check_tuner(tuner: Any, max_trials: int | None) -> None:
    """Raises a `TypeError` or `ValueError` for unsupported tuners."""
    if isinstance(tuner, str):
        if tuner not in TUNERS:
            raise ValueError(
                f"`tuner` must be one of {tuple(TUNERS)}, a `keras_tuner.Oracle` or a `keras_tuner.Tuner`. "
                f"Received: tuner={tuner!r}"
            )
        if tuner in ("random", "bayesian") and max_trials is None:
            raise ValueError(f"tuner={tuner!r} requires `max_trials`. Received: max_trials=None")
    elif isinstance(tuner, keras_tuner.oracles.HyperbandOracle):
        raise ValueError(
            'Hyperband has its own training loop: pass tuner="hyperband" or a `keras_tuner.Hyperband`. '
            f"Received: tuner={tuner!r}"
        )
    elif not isinstance(tuner, keras_tuner.Oracle | keras_tuner.Tuner):
        raise TypeError(
            f"`tuner` must be a name, a `keras_tuner.Oracle` or a `keras_tuner.Tuner`. Received: tuner={tuner!r}"
        )
    if max_trials is not None and (not isinstance(max_trials, int) or max_trials < 1):
        raise ValueError(f"`max_trials` must be an integer of at least 1. Received: max_trials={max_trials!r}")


def check_workers(settings: Settings, workers: Any) -> None:
    """Raises a `ValueError` unless the builder supports this number of workers."""
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"`workers` must be an integer of at least 1. Received: workers={workers!r}")
    if settings.candidates_at_once > 1:
        raise ValueError(
            "Each worker trains one candidate at a time: set either `workers` or `candidates_at_once`. "
            f"Received: workers={workers}, candidates_at_once={settings.candidates_at_once}"
        )
    check_apart(settings)
    if isinstance(settings.tuner, keras_tuner.Tuner):
        raise ValueError(
            "A tuner object belongs to one process: pass `tuner` by name, or an oracle. "
            f"Received: tuner={settings.tuner!r}, workers={workers}"
        )


def check_apart(settings: Settings) -> None:
    """Raises a `ValueError` unless the settings support several processes."""
    if settings.checkpoints != "best":
        raise ValueError(
            "Workers have no access to the epochs of other workers' candidates: use one process, or "
            f'`checkpoints="best"`. Received: checkpoints={settings.checkpoints!r}'
        )


def check_waiting(lease: Any, patience: Any) -> None:
    """Raises a `ValueError` unless the timeouts of chief and workers are valid."""
    if not is_number(lease) or lease < SHORTEST_LEASE:
        raise ValueError(f"`lease` must be at least {SHORTEST_LEASE:g} seconds. Received: lease={lease!r}")
    if not is_number(patience) or patience < 0:
        raise ValueError(f"`patience` must be a number of seconds. Received: patience={patience!r}")


def check_project_name(name: Any) -> None:
    """Raises a `ValueError` unless the name is a path below the directory."""
    parts = name.split("/") if isinstance(name, str) and not files.is_remote(name) else []
    if not parts or {"", ".", ".."} & {*parts}:
        raise ValueError(
            "`project_name` must be the name of a directory below `directory`, without `..`. "
            f"Received: project_name={name!r}"
        )


def check_metric(metric: Any) -> None:
    """Raises a `ValueError` for an unsupported metric."""
    known = ("auto", "loss", *SCORES)
    for each in metric.values() if isinstance(metric, dict) else [metric]:
        if not callable(each) and each not in known:
            raise ValueError(
                f"`metric` must be one of {known}, a function, or for several outputs a dictionary of these. "
                f"Received: metric={metric!r}"
            )


def best_of(keep: str | int) -> int | None:
    """Returns the number of best candidates whose weights are kept, `None` for `"all"` and `"selected"`."""
    if is_integer(keep) and keep >= 1:
        return int(keep)
    if isinstance(keep, str) and keep in ("all", "selected"):
        return None
    raise ValueError(f'`keep` must be "all", "selected" or a positive integer. Received: keep={keep!r}')
