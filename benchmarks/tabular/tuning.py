"""What a method gives, and the random search of all methods that do not search with KerasTuner."""

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
clock = time.process_time  # of this process alone: a busy machine does not take a method's time away


@dataclass(frozen=True)
class Trained:
    """A trained model, and what it took.

    Attributes:
        nll: Of held-out samples.
        predict: Samples to probabilities `[N, C]`, or means and variances `[N, 2]` of standardized targets.
        parameters: How many numbers were trained.
        seconds: Of tuning and training.
        trials: How many settings were tried.
        settings: The best ones.
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
    """Trains with one setting after the other, as long as one more training fits into the seconds.

    Args:
        train: Takes a setting and the seconds that are left: the first training may need them all.
        draws: Settings; the first ones are the method's defaults.
        seconds: For all trainings together.
        most: Of the trainings.
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
