"""Selections among random halves of the candidates, and their consensus. Requires only NumPy."""

from collections import Counter

import numpy as np

from keras_hyperens.search.scores import Score
from keras_hyperens.search.scores import SumOfScores
from keras_hyperens.search.steps import Choices
from keras_hyperens.search.steps import Steps
from keras_hyperens.search.steps import scored


def bagged(score: Score | SumOfScores, steps: Steps, bags: int, random: np.random.Generator) -> Choices:
    """Returns the selections of all bags, each among a random half of the candidates."""
    usable = np.flatnonzero(score.finite)
    runs = []
    for _ in range(bags):
        allowed = np.zeros(len(score.finite), bool)
        allowed[random.choice(usable, -(-len(usable) // 2), replace=False)] = True
        runs.append(steps.choices(score, allowed)[0])
    return scored(score, _agreed(runs, steps))


def _agreed(runs: list[tuple[int, ...]], steps: Steps) -> tuple[int, ...]:
    """Returns the candidates selected most often: K of them, or those worth their cost."""
    length = steps.size if steps.max_members is None else min(steps.size, steps.max_members)
    if steps.cost_weight:
        length = round(float(np.median([len(set(run)) for run in runs])))
    chosen = [index for run in runs for index in run]
    kept: list[int] = []
    for index, _ in Counter(chosen).most_common():
        if len(kept) < length and steps.costs[[*kept, index]].sum() <= steps.max_cost:
            kept.append(index)
    return tuple(index for index in chosen if index in kept)
