"""Cost of candidates as members, and ensembles with the best score by cost."""

import json
import statistics
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hyperens.checks import is_number
from keras_hyperens.search.assembly import networks_of
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.selection import Selection
from keras_hyperens.search.settings import Settings

COSTS = ("parameters", "latency")
LATENCY_ROWS, REPETITIONS = 32, 10
WEIGHTS = (0.0, *np.geomspace(1e-4, 1, 9))  # cost weights of the frontier, relative to the best candidate's score


@dataclass(frozen=True)
class FrontierPoint:
    """Ensemble that no other ensemble dominates in score and cost.

    Attributes:
        members: Names of candidates.
        weights: Weights of the members.
        cost: Total cost of the members.
        score: Score on the validation data; lower is better.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    cost: float
    score: float


def check_cost(cost: Any, is_used: bool) -> None:
    """Raises a `ValueError` unless the cost is supported, or unused."""
    if cost is None:
        if is_used:
            raise ValueError(
                "`cost_weight` and `max_cost` require a `cost`: "
                + f"one of {COSTS}, or a function. Received: cost=None"
            )
    elif not callable(cost) and cost not in COSTS:
        raise ValueError(f"`cost` must be one of {COSTS}, or a function of a model. Received: cost={cost!r}")


def costs_of(candidates: Sequence[Candidate], cost: Any, settings: Settings, pool: Pool) -> list[float]:
    """Returns the cost of each candidate; equal hyperparameters have equal costs.

    Args:
        candidates: Candidates with weights on disk.
        cost: `"parameters"`, `"latency"` (seconds for 32 samples), or a function from a model to a number.
        settings, pool: Settings and pool of the search.
    """
    measure: Callable[[keras.Model], float] = {"parameters": _parameters, "latency": _latency}.get(cost, cost)
    known: dict[str, float] = {}
    for candidate in candidates:
        key = json.dumps(candidate.values, sort_keys=True)
        if key not in known:
            networks = networks_of(settings.hypermodel, pool, candidate)
            known[key] = sum(_checked(measure(network), candidate, cost) for network in networks)
    return [known[json.dumps(candidate.values, sort_keys=True)] for candidate in candidates]


def frontier(
    select: Callable[..., Selection], names: Sequence[str], costs: Sequence[float], size: int
) -> list[FrontierPoint]:
    """Returns the nondominated ensembles up to a size, the cheapest first.

    Args:
        select: Function that selects members, given a size and arguments of `greedy_selection`.
        names, costs: Names and costs of the candidates.
        size: Maximum number of members.
    """
    scale = abs(select(1).trajectory[-1]) or 1.0
    points = {}
    for weight in WEIGHTS:
        for members in range(1, size + 1):
            chosen = select(members, costs=costs, cost_weight=weight * scale)
            cost = float(sum(costs[index] for index in chosen.members))
            names_of = tuple(names[index] for index in chosen.members)
            points[chosen.indices] = FrontierPoint(names_of, chosen.weights, cost, chosen.trajectory[-1])
    best: list[FrontierPoint] = []
    for point in sorted(points.values(), key=lambda each: (each.cost, each.score)):
        if not best or point.score < best[-1].score:
            best.append(point)
    return best


def _parameters(model: keras.Model) -> float:
    return float(model.count_params())


def _latency(model: keras.Model) -> float:
    """Returns the median time of a prediction in seconds."""
    if not getattr(model, "inputs", None):
        raise ValueError(
            '`cost="latency"` requires models with known inputs (Functional or Sequential): pass a function '
            f"that measures others. Received: a {type(model).__name__}"
        )
    batch = [np.zeros((each.shape[0] or LATENCY_ROWS, *(s or 1 for s in each.shape[1:])), each.dtype)
             for each in model.inputs]  # fmt: skip
    inputs = keras.tree.pack_sequence_as(model.input if hasattr(model, "input") else model.inputs[0], batch)
    seconds = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        model.predict_on_batch(inputs)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first call traces


def _checked(value: Any, candidate: Candidate, cost: Any) -> float:
    if not is_number(value) or value < 0:
        raise ValueError(
            f"`cost` must return a number of at least 0 for each model. Received: {value!r} of {candidate.name}, "
            f"cost={cost!r}"
        )
    return float(value)
