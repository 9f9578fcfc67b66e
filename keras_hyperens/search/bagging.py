"""Selections on random halves, of the candidates or of the rows, and what they agree on (NumPy only)."""

from collections import Counter
from typing import Any

import numpy as np

from keras_hyperens.search.scores import Score
from keras_hyperens.search.scores import SumOfScores
from keras_hyperens.search.steps import Choices
from keras_hyperens.search.steps import Steps
from keras_hyperens.search.steps import scored

MOST_BAGS, ROWS_READ = 30, 30_000  # of halves of the rows: so many, and as few as read no more rows than these


def of_candidates(score: Score | SumOfScores, steps: Steps, bags: int, random: np.random.Generator) -> Choices:
    """The choices of all bags, each among a random half of the candidates."""
    usable = np.flatnonzero(score.finite)
    runs = []
    for _ in range(bags):
        allowed = np.zeros(len(score.finite), bool)
        allowed[random.choice(usable, -(-len(usable) // 2), replace=False)] = True
        runs.append(steps.choices(score, allowed)[0])
    return scored(score, _agreed(runs, steps))


def of_rows(score: Score | SumOfScores, steps: Steps, bags: int, random: np.random.Generator) -> Choices:
    """The choices of all bags, each by a random half of the rows."""
    number = score.num_samples
    runs = []
    for _ in range(bags):
        half = np.zeros(number, bool)
        half[random.choice(number, -(-number // 2), replace=False)] = True
        runs.append(steps.choices(score.on_samples(half), score.finite)[0])
    return scored(score, _agreed(runs, steps))


def bags_for(rows: int, size: int, metric: Any) -> int | None:
    """So many halves of so many rows are worth their time; `None`: one selection on all rows is as good.

    A function as metric may be slow, or need rows that a half does not have; one member is the best of all rows.
    """
    bags = min(MOST_BAGS, ROWS_READ // max(rows, 1))
    metrics = metric.values() if isinstance(metric, dict) else [metric]
    return bags if bags > 1 and size > 1 and not any(map(callable, metrics)) else None


def _agreed(runs: list[tuple[int, ...]], steps: Steps) -> tuple[int, ...]:
    """The choices of the candidates chosen most often: K of them, or what the runs found worth its cost."""
    length = steps.size if steps.max_members is None else min(steps.size, steps.max_members)
    if steps.cost_weight:
        length = round(float(np.median([len(set(run)) for run in runs])))
    chosen = [index for run in runs for index in run]
    kept: list[int] = []
    for index, _ in Counter(chosen).most_common():
        if len(kept) < length and steps.costs[[*kept, index]].sum() <= steps.max_cost:
            kept.append(index)
    return tuple(index for index in chosen if index in kept) if steps.replacement else tuple(kept)
