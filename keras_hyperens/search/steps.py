"""Steps of a greedy selection: the next candidate, and the end. Requires only NumPy."""

from dataclasses import dataclass

import numpy as np

from keras_hyperens.search.scores import Score
from keras_hyperens.search.scores import SumOfScores

ROUNDING = 1e-12  # scores with a smaller relative difference are equal
MOST = 100  # maximum number of steps per member with replacement: finer weights overfit
Choices = tuple[tuple[int, ...], tuple[float, ...]]  # indices, and the score after each step


@dataclass(frozen=True)
class Steps:
    """Options of a selection; arguments as in `greedy_selection`.

    Attributes:
        costs: Costs of the candidates, `[T]`; 0 by default.
    """

    size: int
    replacement: bool
    stop: str
    tolerance: float
    costs: np.ndarray
    cost_weight: float = 0.0
    max_cost: float = np.inf
    max_members: int | None = None

    def choices(self, score: Score | SumOfScores, allowed: np.ndarray) -> Choices:
        """Selects among the allowed candidates, `[T]`."""
        score.reset()
        allowed = allowed.copy()
        indices: list[int] = []
        trajectory: list[float] = []
        objectives: list[float] = []  # scores plus weighted costs
        while not self._has_enough(indices):
            open_to = allowed & self._fitting(indices)
            if not open_to.any():
                break
            added = score.if_added()
            scores = np.where(open_to & ~np.isnan(added), added, np.inf)  # NaN is never the minimum
            scores += self._penalties(indices)
            chosen = self._next(scores, indices, objectives)
            if chosen is None or (indices and not improves(objectives[-1], scores[chosen], self.tolerance)):
                break
            score.add(chosen)
            indices.append(chosen)
            trajectory.append(float(added[chosen]))
            objectives.append(float(scores[chosen]))
            allowed[chosen] = self.replacement
        return tuple(indices), tuple(trajectory)

    def _has_enough(self, indices: list[int]) -> bool:
        length = len(set(indices) if self.stop == "unique" else indices)
        return length >= self.size or len(indices) >= MOST * self.size

    def _next(self, scores: np.ndarray, indices: list[int], objectives: list[float]) -> int | None:
        """Returns the first minimum, or that of new candidates without improvement; `None` if there is none."""
        chosen = first_of_lowest(scores)
        is_repeated = self.stop == "unique" and self.tolerance < 0 and chosen in indices
        if is_repeated and not improves(min(objectives), scores[chosen], 0.0):
            scores[indices] = np.inf  # without improvement it continues with a new candidate
            chosen = first_of_lowest(scores)
            if not np.isfinite(scores[chosen]):
                return None
        return chosen

    def _fitting(self, indices: list[int]) -> np.ndarray:
        """Returns which candidates are members or can become members, `[T]`."""
        members = list(set(indices))
        is_full = self.max_members is not None and len(members) >= self.max_members
        fits = np.full(len(self.costs), not is_full)
        fits &= self.costs[members].sum() + self.costs <= self.max_cost * (1 + ROUNDING)
        fits[members] = True
        return fits

    def _penalties(self, indices: list[int]) -> np.ndarray:
        """Returns the weighted cost of all members with each candidate added, `[T]`."""
        members = list(set(indices))
        of_new = self.costs.copy()
        of_new[members] = 0
        largest = self.costs.max()
        return self.cost_weight * (self.costs[members].sum() + of_new) / (largest if largest > 0 else 1.0)


def scored(score: Score | SumOfScores, indices: tuple[int, ...]) -> Choices:
    """Returns given choices with the score after each of them."""
    score.reset()
    trajectory = []
    for index in indices:
        trajectory.append(float(score.if_added()[index]))
        score.add(index)
    return indices, tuple(trajectory)


def first_of_lowest(scores: np.ndarray) -> int:
    """Returns the index of the lowest score, the first one for ties."""
    lowest = scores.min()
    return int(np.argmax(scores <= lowest + ROUNDING * max(1.0, abs(lowest))))


def improves(before: float, after: float, tolerance: float) -> bool:
    """Whether a score is lower than the previous one by more than a tolerance."""
    if tolerance < 0:
        return before - after > tolerance
    return before - after > tolerance + ROUNDING * max(1.0, abs(before))
