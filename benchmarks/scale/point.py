"""A point at which the cost model is compared with what is there."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One quantity, predicted and measured.

    Attributes:
        what: The quantity, and for what.
        formula: How it is predicted, in the letters of `docs/scale.md`.
        predicted: By the formula.
        measured: What was counted, or took so long.
        unit: Of both.
        is_counted: Whether it was counted, and is the same on every machine; else it was timed.
    """

    what: str
    formula: str
    predicted: float
    measured: float
    unit: str
    is_counted: bool = True

    @property
    def ratio(self) -> float:
        return self.measured / self.predicted


def table(points: Iterable[Point]) -> str:
    """Markdown."""
    lines = ["| | formula | predicted | measured | | measured / predicted | |", "|---|---|---|---|---|---|---|"]
    for point in points:
        how = "counted" if point.is_counted else "timed"
        numbers = f"{_number(point.predicted)} | {_number(point.measured)} | {point.unit} | {point.ratio:.3f}"
        lines.append(f"| {point.what} | {point.formula} | {numbers} | {how} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
