"""Candidates as people want to see them."""

import json
from collections.abc import Iterable

from keras_hyperens.search.pool import Candidate
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.pool import rank


def best_of_equal_values(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for each set of hyperparameters: the one with the best score (Hyperband trains a set again)."""
    best: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=rank):
        best.setdefault(json.dumps(candidate.values, sort_keys=True), candidate)
    return sorted(best.values(), key=lambda each: each.name)


def summary(pool: Pool, weights: dict[str, float], number: int) -> str:
    """A table of the best candidates and of all members."""
    candidates = sorted(pool.finished(), key=rank)
    failed = len(pool.candidates()) - len(candidates)
    shown = [each for rank, each in enumerate(candidates) if rank < number or each.name in weights]
    hyperparameters = sorted({name for each in shown for name in each.values})
    rows = [["candidate", "score", "weight", *hyperparameters]]
    for each in shown:
        weight = weights.get(each.name)
        score = "" if each.score is None else f"{each.score:.4f}"
        values = [_brief(each.values.get(name, "")) for name in hyperparameters]
        rows.append([each.name, score, "" if weight is None else f"{weight:.2f}", *values])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    head = f"{len(candidates)} candidates finished, {failed} failed, in {pool.directory}"
    return "\n".join([head, *lines])


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
