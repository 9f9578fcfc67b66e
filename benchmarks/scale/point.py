"""A point at which the cost model is compared with what is there."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks import experiment


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

    @property
    def row(self) -> list[str]:
        numbers = [_number(self.predicted), _number(self.measured), self.unit, f"{self.ratio:.3f}"]
        return [self.what, self.formula, *numbers, "counted" if self.is_counted else "timed"]


def table(points: Iterable[Point]) -> str:
    """Markdown."""
    columns = ["", "formula", "predicted", "measured", "", "measured / predicted", ""]
    return experiment.table(columns, [point.row for point in points])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
