"""Result of a method, and the random search of methods without KerasTuner."""

import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.tabular.tables import Samples

Settings = dict[str, Any]
Predict = Callable[[Samples], np.ndarray]
clock = time.process_time  # CPU time of this process, independent of other load on the machine


@dataclass(frozen=True)
class Trained:
    """A trained model and its cost.

    Attributes:
        nll: NLL of the held-out samples.
        predict: Function from samples to probabilities `[N, C]`, or means and variances `[N, 2]` of standardized
            targets.
        parameters: Number of trained parameters.
        seconds: Duration of tuning and training.
        trials: Number of settings tried.
        settings: The best settings.
    """

    nll: float
    predict: Predict
    parameters: int
    seconds: float = 0.0
    trials: int = 1
    settings: Settings = field(default_factory=dict)


def best_of(
    train: Callable[[Settings, float], Trained], draws: Iterator[Settings], seconds: float, most: int | None = None
) -> Trained:
    """Trains with one setting after the other, while another training run fits into the remaining time.

    Args:
        train: Function of a setting and the remaining seconds, which limit the first training run.
        draws: Settings, starting with the defaults of the method.
        seconds: Time for all training runs.
        most: Maximum number of training runs.
    """
    start, tried, longest = clock(), 0, 0.0
    best: Trained | None = None
    while best is None or (clock() - start + longest <= seconds and tried != most):
        began, settings = clock(), next(draws)
        found = train(settings, max(seconds - (began - start), 1e-3))
        tried, longest = tried + 1, max(longest, clock() - began)
        if best is None or found.nll < best.nll:
            best = replace(found, settings=settings)
    return replace(best, seconds=clock() - start, trials=tried)


def log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
