"""Best ensemble during the training of candidates: a greedy selection that continues with new predictions."""

import math
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

import numpy as np

from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.search.selection import Selection

# Function from candidates' predictions of each output, and likelihoods and names of the outputs, to the best ensemble.
Choose = Callable[[Sequence[Sequence[np.ndarray]], Sequence[Likelihood], Sequence[str]], Selection]


@dataclass(frozen=True)
class Checkpoint:
    """A member of an ensemble.

    Attributes:
        predictions: Predictions of each output for the validation data.
        name: Name of its candidate, in training or on disk.
        epoch: Index of the epoch of a candidate in training, from 0; `None` for a candidate on disk.
        weights: Result of `keras.Model.get_weights`; empty until it is selected, and for a candidate on disk.
    """

    predictions: list[np.ndarray]
    name: str
    epoch: int | None = None
    weights: list[np.ndarray] = field(default_factory=list)

    @property
    def is_stored(self) -> bool:
        """Whether its weights are on disk or here."""
        return self.epoch is None or bool(self.weights)


class BestEnsemble:
    """Best ensemble so far: each selection is among its members and new ones, and only replaces it if it is better.

    Args:
        choose: Function that selects the best ensemble.
    """

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.members: list[Checkpoint] = []
        self.score = math.inf

    def offer(self, new: Sequence[Checkpoint], likelihoods: Sequence[Likelihood], outputs: Sequence[str]) -> bool:
        """Repeats the selection; returns whether the ensemble has changed."""
        everyone, before = [*self.members, *new], len(self.members)
        best = self.choose([each.predictions for each in everyone], likelihoods, outputs)
        if len(best.members) <= before and not best.trajectory[-1] < self.score:
            return False
        self.members, self.score = [everyone[index] for index in best.members], best.trajectory[-1]
        return True
