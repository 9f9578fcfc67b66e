"""Output of a search: progress with the remaining time, and a table of the candidates."""

import sys
import time
from collections.abc import Mapping
from collections.abc import Sequence

from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate import rank
from keras_hyperens.search.costs import FrontierPoint
from keras_hyperens.search.pool import Pool


class Progress:
    """Progress line, updated after every candidate; without a terminal, one line per candidate.

    Args:
        planned: Number of candidates of each stage by name; 0 if only the tuner determines it.
        verbose: 0 for silent.
    """

    def __init__(self, planned: Mapping[str, int], verbose: int) -> None:
        self.planned, self.verbose = dict(planned), verbose
        self.done = dict.fromkeys(planned, 0)
        self.seconds: list[float] = []  # of training runs that ended in this process
        self.best: float | None = None
        self.start = time.monotonic()
        self.line_open = False

    def ended(self, stage: str, candidate: Candidate | None) -> None:
        """Counts and reports a candidate."""
        self.done[stage] += 1
        now = time.monotonic() - self.start
        is_news = candidate is not None and candidate.seconds <= now - sum(self.seconds) + 1  # not found on disk
        if candidate is not None and is_news:
            self.seconds.append(candidate.seconds)
        if candidate is None or candidate.failure is not None:
            self._show(stage, "failed, excluded")
            return
        score = candidate.score
        if score is not None and (self.best is None or score < self.best):
            self.best = score
        self._show(stage, "" if score is None else f"score {score:.4f} (best {self.best:.4f})")

    def say(self, text: str) -> None:
        """Prints a separate line."""
        self._write(text)
        self.close()

    def _show(self, stage: str, news: str) -> None:
        total = str(self.planned[stage] or "?")
        text = f"{stage} {self.done[stage]:>{len(total)}} of {total}   {news:<32} {self._left(stage)}"
        self._write(text)

    def _left(self, stage: str) -> str:
        if not self.seconds or not self.planned[stage]:
            return ""
        stages = list(self.planned)
        ahead = stages[stages.index(stage) :]
        number = sum(max(0, self.planned[each] - self.done[each]) for each in ahead)
        elapsed = time.monotonic() - self.start
        return f"{_clock(elapsed)} elapsed, about {_clock(number * elapsed / len(self.seconds))} remaining"

    def _write(self, text: str) -> None:
        if not self.verbose:
            return
        if sys.stdout.isatty():
            print(f"\r{text:<100}", end="", flush=True)
            self.line_open = True
        else:
            print(text.rstrip(), flush=True)

    def close(self) -> None:
        """Ends the line."""
        if self.line_open:
            print(flush=True)
        self.line_open = False


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def summary(
    pool: Pool,
    weights: Mapping[str, float],
    number: int,
    costs: Mapping[str, float],
    frontier: Sequence[FrontierPoint],
) -> str:
    """Returns a table of the best candidates and of all members, and of the frontier, if any.

    Args:
        pool: Pool of the search.
        weights, costs: Weights of members, and known costs of candidates, by name.
        number: Number of best candidates.
        frontier: Nondominated ensembles in score and cost.
    """
    candidates = sorted(pool.finished(), key=rank)
    failed = len(pool.candidates()) - len(candidates)
    shown = [each for rank, each in enumerate(candidates) if rank < number or each.name in weights]
    hyperparameters = sorted({name for each in shown for name in each.values})
    cost = ["cost"] if costs else []
    rows = [["candidate", "score", "weight", *cost, *hyperparameters]]
    for each in shown:
        weight = weights.get(each.name)
        score = "" if each.score is None else f"{each.score:.4f}"
        values = [_brief(each.values.get(name, "")) for name in hyperparameters]
        spent = [_brief(costs.get(each.name, ""))] if costs else []
        rows.append([each.name, score, "" if weight is None else f"{weight:.2f}", *spent, *values])
    head = f"{len(candidates)} candidates finished, {failed} failed, in {pool.directory}"
    tables = [head, *_table(rows)]
    if frontier:
        points = [[_brief(each.cost), f"{each.score:.4f}", ", ".join(each.members)] for each in frontier]
        tables += ["", "score of ensembles by cost", *_table([["cost", "score", "members"], *points])]
    return "\n".join(tables)


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
