"""What a builder's arguments may be."""

from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number
from keras_hyperens.likelihoods import check_output_activation
from keras_hyperens.search.scores import SCORES

LEASE, PATIENCE = 15.0, 900.0  # seconds that a chief waits for a worker, and a worker for its chief
SHORTEST_LEASE = 3.0  # workers are heard about once a second


def check_settings(builder: Any) -> None:
    """Raises a `ValueError` for an argument of `HyperDeepEnsembleBuilder` that is out of its range."""
    lowest = {"ensemble_size": 1, "num_hyperparameter_sets": 1, "initializations": 0, "search_pool_size": 1, "seed": 0}
    lowest["candidates_at_once"] = 1
    for name, least in lowest.items():
        value = getattr(builder, name)
        if not (is_integer(value) and value >= least) and not (value is None and name in ("seed", "search_pool_size")):
            raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}")
    share = builder.training_subset
    if share is not None and not (is_number(share) and 0 < share <= 1):
        raise ValueError(f"`training_subset` must be in (0, 1]. Received: training_subset={share!r}")
    if builder.prediction_dtype not in ("float32", "float16"):
        raise ValueError(
            '`prediction_dtype` must be "float32" or "float16". '
            f"Received: prediction_dtype={builder.prediction_dtype!r}"
        )
    if not builder.objective or not isinstance(builder.objective, str | list | keras_tuner.Objective):
        raise ValueError(
            "`objective` must be a name, a `keras_tuner.Objective`, or a list of these. "
            f"Received: objective={builder.objective!r}"
        )
    best_of(builder.keep)
    check_metric(builder.metric)
    check_output_activation(builder.output_activation)
    trained = (builder.max_trials or 0) + builder.num_hyperparameter_sets * builder.initializations
    if builder.tuner == "random" and trained < builder.ensemble_size:
        raise ValueError(
            "There must be at least as many candidates as members: raise `max_trials` or `initializations`. "
            f"Received: ensemble_size={builder.ensemble_size}, at most {trained} candidates"
        )


def check_waiting(lease: Any, patience: Any) -> None:
    """Raises a `ValueError` unless chief and workers can wait so many seconds for each other."""
    if not is_number(lease) or lease < SHORTEST_LEASE:
        raise ValueError(f"`lease` must be at least {SHORTEST_LEASE:g} seconds. Received: lease={lease!r}")
    if not is_number(patience) or patience < 0:
        raise ValueError(f"`patience` must be a number of seconds. Received: patience={patience!r}")


def check_project_name(name: Any) -> None:
    """Raises a `ValueError` unless it is a path below the directory."""
    parts = name.split("/") if isinstance(name, str) and not files.is_remote(name) else []
    if not parts or {"", ".", ".."} & {*parts}:
        raise ValueError(
            "`project_name` must be the name of a directory below `directory`, without `..`. "
            f"Received: project_name={name!r}"
        )


def check_metric(metric: Any) -> None:
    """Raises a `ValueError` for a metric that nothing can be selected by."""
    known = ("auto", "loss", *SCORES)
    for each in metric.values() if isinstance(metric, dict) else [metric]:
        if not callable(each) and each not in known:
            raise ValueError(
                f"`metric` must be one of {known}, a function, or for several outputs a dictionary of these. "
                f"Received: metric={metric!r}"
            )


def text_of(setting: Any) -> Any:
    """A setting as JSON can say it; of a function or an object its name."""
    if isinstance(setting, dict):
        return {str(key): text_of(value) for key, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [text_of(each) for each in setting]
    if setting is None or isinstance(setting, str | int | float):
        return setting
    if is_integer(setting):  # of NumPy
        return int(setting)
    if hasattr(setting, "direction"):  # KerasTuner's objective
        return f"{setting.direction} {setting.name}"
    return getattr(setting, "__qualname__", type(setting).__qualname__)


def best_of(keep: str | int) -> int | None:
    """How many best candidates keep their weights, `None` with `"all"` and `"selected"`."""
    if is_integer(keep) and keep >= 1:
        return int(keep)
    if isinstance(keep, str) and keep in ("all", "selected"):
        return None
    raise ValueError(f'`keep` must be "all", "selected" or a positive integer. Received: keep={keep!r}')
