"""The tables of the comparison: test scores relative to greedy's, the geometric mean over pools."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import experiment
from benchmarks.selection.pools import RECIPES
from benchmarks.selection.rules import DEFAULT
from benchmarks.selection.rules import GREEDY

Line = dict[str, Any]


def tables(lines: list[Line]) -> str:
    """All tables, those of the pools that chose first."""
    parts = []
    for title, chooses in (("pools that chose", True), ("pools that confirm", False)):
        of_part = [line for line in lines if "nll" in line and RECIPES[line["pool"]].chooses == chooses]
        count = len({line["pool"] for line in of_part})
        parts.append(f"Test NLL / greedy's, {count} {title}")
        parts.append(_by_rows(of_part, _of_metric("nll")))
        parts.append(f"After a temperature, test NLL / greedy's without one, {title}")
        parts.append(_by_rows(of_part, _of_temperatures))
    for metric, name in (("brier", "Brier score"), ("accuracy", "Error rate"), ("mse", "Squared error")):
        parts.append(f"{name} / greedy's, selected by it, all pools that have it")
        parts.append(_by_rows([line for line in lines if metric in line], _of_metric(metric)))
    for title, other in (("greedy's", GREEDY), ("the deep ensemble's", "deep")):
        parts.append(f"Test NLL with the default / {title}, by pool")
        parts.append(against(lines, other))
    return "\n\n".join(parts)


def _of_metric(metric: str) -> Callable[[Line], dict[str, float]]:
    return lambda line: line[metric]


def _of_temperatures(line: Line) -> dict[str, float]:
    scores = {GREEDY: line["nll"][GREEDY], DEFAULT: line["nll"][DEFAULT]}
    for rule, variants in line["tempered"].items():
        scores |= {f"{rule}, {name}": score for name, score in variants.items()}
    return scores


def _by_rows(lines: list[Line], scores_of: Callable[[Line], dict[str, float]]) -> str:
    sizes = sorted({line["rows"] for line in lines})
    names = list(dict.fromkeys(name for line in lines for name in scores_of(line)))
    head = ["", *(f"{rows:,} rows" for rows in sizes), "all", "worst"]
    rows = []
    for name in names:
        ratios = {size: ratios_of(lines, size, name, scores_of) for size in sizes}
        every = [ratio for of_size in ratios.values() for ratio in of_size]
        cells = [_mean(of_size) for of_size in ratios.values()]
        rows.append([name, *cells, _mean(every) if all(ratios.values()) else "", f"{max(every):.3f}"])
    return experiment.table(head, rows)


def ratios_of(
    lines: list[Line], rows: int, name: str, scores_of: Callable[[Line], dict[str, float]], other: str = GREEDY
) -> list[float]:
    """For each pool, the mean of a rule's scores over splits by that of another one's."""
    ratios = []
    for pool in sorted({line["pool"] for line in lines}):
        scores = [scores_of(line) for line in lines if line["pool"] == pool and line["rows"] == rows]
        scores = [each for each in scores if name in each]
        if scores:
            ratios.append(np.mean([each[name] for each in scores]) / np.mean([each[other] for each in scores]))
    return ratios


def against(lines: list[Line], other: str) -> str:
    """Test NLL of the default over another rule's, by pool and number of validation samples."""
    lines = [line for line in lines if other in line.get("nll", {})]
    sizes = sorted({line["rows"] for line in lines})
    rows = []
    for pool in dict.fromkeys(line["pool"] for line in lines):
        of_pool = [line for line in lines if line["pool"] == pool]
        name = pool if RECIPES[pool].chooses else f"{pool} (confirms)"
        rows.append([name, *(_mean(ratios_of(of_pool, size, DEFAULT, _of_metric("nll"), other)) for size in sizes)])
    return experiment.table(["", *(f"{size:,} rows" for size in sizes)], rows)


def _mean(ratios: list[float]) -> str:
    return f"{np.exp(np.mean(np.log(ratios))):.3f}" if ratios else ""
