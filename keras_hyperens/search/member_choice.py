"""Selection of members: hyperparameter sets and candidates that are best together, and their scores."""

import functools
import math
import warnings
from typing import Any

from keras_hyperens.likelihoods import named
from keras_hyperens.search.candidate import CHECKPOINTS
from keras_hyperens.search.candidate import INITIALIZATIONS
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate import best_of_equal_values
from keras_hyperens.search.candidate import number_of_run
from keras_hyperens.search.candidate import rank
from keras_hyperens.search.costs import FrontierPoint
from keras_hyperens.search.costs import check_cost
from keras_hyperens.search.costs import costs_of
from keras_hyperens.search.costs import frontier
from keras_hyperens.search.scorer import Scorer
from keras_hyperens.search.scorer import mean_of
from keras_hyperens.search.selection import Selection
from keras_hyperens.search.selection import greedy_selection
from keras_hyperens.search.settings import Settings
from keras_hyperens.search.validation_rows import ValidationRows

SELECTIONS = {"convex": "convex", "greedy": "counts"}  # user names, and `weights` of `greedy_selection`


class MemberChoice:
    """Selects among the candidates of a search.

    Args:
        settings: Settings of the builder.
        scorer: Scorer of the search.

    Attributes:
        costs: Costs of candidates by name, if the last selection had a cost.
        frontier: Scores of their ensembles by cost, the cheapest first.
    """

    def __init__(self, settings: Settings, scorer: Scorer) -> None:
        self.settings, self.scorer, self.pool = settings, scorer, scorer.pool
        self.costs: dict[str, float] = {}
        self.frontier: list[FrontierPoint] = []

    def hyperparameter_sets(self) -> list[Candidate]:
        """Returns the candidates of the search whose hyperparameters are best together, the best one first.

        Raises:
            ValueError: If no candidate of the search has finished.
        """
        finished = best_of_equal_values(self.pool.finished(SEARCH))
        if not finished:
            raise ValueError(self.pool.why_none())
        best = sorted(finished, key=rank)[: self.settings.search_pool_size]
        best.sort(key=lambda each: each.name)  # tie-breaking order
        size = min(self.settings.num_hyperparameter_sets, len(best))
        chosen = [best[index] for index in self.scorer.select(best, size, self.settings.metric).members]
        others = sorted((each for each in best if each not in chosen), key=rank)
        return (chosen + others)[:size]  # the selection stops early without improvement

    def members(
        self,
        size: int,
        metric: Any,
        *,
        selection: str = "convex",
        rows: ValidationRows | None = None,
        cost: Any = None,
        **arguments: Any,
    ) -> tuple[list[Candidate], tuple[float, ...]]:
        """Returns the candidates with weights on disk that are best together, and their weights in the ensemble.

        Args:
            size, metric, **arguments: As in `greedy_selection`.
            selection: A name of `SELECTIONS`.
            rows: Data for the selection that replace those of the search.
            cost: As in `costs_of`, or `None`.

        Raises:
            ValueError: If there are too few, or an option is unknown.
        """
        if selection not in SELECTIONS:
            raise ValueError(f"`selection` must be one of {tuple(SELECTIONS)}. Received: selection={selection!r}")
        check_cost(cost, "cost_weight" in arguments or "max_cost" in arguments)
        finished = self.eligible()
        kept = [candidate for candidate in finished if self.pool.has_weights(candidate)]
        if len(kept) < size:
            raise ValueError(
                f"An ensemble of {size} requires as many candidates with weights: reduce the size, search more "
                f"trials, or keep more weights. Received: {len(kept)} with weights of {len(finished)} finished; "
                + self.pool.why_none()
            )
        ends = {} if arguments.get("cost_weight") else {"tolerance": -math.inf}
        settings = {"seed": 0, "weights": SELECTIONS[selection], **ends, **arguments}
        problem = self.scorer.problem(kept, metric, rows)
        self.costs, self.frontier = {}, []
        if cost is not None:
            settings["costs"] = self._costs(kept, cost, problem, size)
        chosen = greedy_selection(**problem, ensemble_size=size, **settings)
        if len(kept) < len(finished) and rows is None and cost is None:
            self._say_if_a_better_one_was_not_kept(chosen, self.scorer.select(finished, size, metric, **settings))
        return [kept[index] for index in chosen.members], chosen.weights

    def _costs(self, kept: list[Candidate], cost: Any, problem: dict[str, Any], size: int) -> list[float]:
        """Computes the cost of each candidate, and the frontier of score and cost."""
        costs, names = costs_of(kept, cost, self.settings, self.pool), [each.name for each in kept]
        self.costs = dict(zip(names, costs))
        select = functools.partial(greedy_selection, **problem, tolerance=-math.inf)
        self.frontier = frontier(lambda number, **given: select(ensemble_size=number, **given), names, costs, size)
        return costs

    def runs_of_best_set(self) -> list[Candidate]:
        """Returns training runs of the best hyperparameters from different initializations, in order."""
        best = self.hyperparameter_sets()[0]
        runs = [each for each in self.pool.finished(INITIALIZATIONS) if each.parent == best.name]
        return sorted(runs, key=lambda each: number_of_run(each.name)) or [best]

    def scores_by_size(self, max_size: int) -> dict[str, list[float]]:
        """As `HyperDeepEnsembleBuilder.scores_by_size`."""
        finished, runs, metric = self.eligible(), self.runs_of_best_set(), self.settings.metric
        sizes = range(1, max_size + 1)
        single = self.scorer.select(finished, 1, metric).trajectory[0]
        return {
            "single best": [single for _ in sizes],
            "deep ensemble": [self._score_of_mean(runs[:size]) for size in sizes if size <= len(runs)],
            "hyper-deep ensemble": [
                self.scorer.select(finished, size, metric, tolerance=-math.inf).trajectory[-1]
                for size in sizes
                if size <= len(finished)
            ],
        }

    def _score_of_mean(self, runs: list[Candidate]) -> float:
        predictions, of_outputs = [self.pool.predictions(run) for run in runs], named(runs[0].likelihoods)
        return self.scorer.score(list(map(mean_of, of_outputs, zip(*predictions))), of_outputs)

    def eligible(self) -> list[Candidate]:
        """Returns the finished candidates that can become members."""
        found = self.pool.finished(SEARCH, INITIALIZATIONS, CHECKPOINTS)
        return found if self.settings.has_search_members else [each for each in found if not _is_of_search(each)]

    def _say_if_a_better_one_was_not_kept(self, chosen: Selection, possible: Selection) -> None:
        if possible.trajectory[-1] < chosen.trajectory[-1]:
            warnings.warn(
                f"With all candidates' weights the validation score would be {possible.trajectory[-1]:.5g}, not "
                f"{chosen.trajectory[-1]:.5g}: keep more weights (now keep={self.settings.keep!r})",
                stacklevel=4,
            )


def _is_of_search(candidate: Candidate) -> bool:
    """Whether a candidate was trained by the search, or is an epoch of one that was."""
    trained = candidate.parent if candidate.stage == CHECKPOINTS else candidate.name
    return trained.startswith(SEARCH)
