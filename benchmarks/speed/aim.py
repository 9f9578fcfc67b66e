"""A line of the table: what was measured, and whether it is what it should be."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """A ratio and its limit.

    Attributes:
        part: Which measurement it belongs to.
        name: What is compared.
        ratio: What was measured; for example ours over the plain network's.
        limit: What it should be.
        at_most: Whether the limit is an upper one; otherwise the ratio should be at least that.
        note: The two numbers that make the ratio.
    """

    part: str
    name: str
    ratio: float
    limit: float
    at_most: bool = True
    note: str = ""

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.limit if self.at_most else self.ratio >= self.limit


def table(aims: Iterable[Aim]) -> str:
    """Markdown; the last column says `met` or `MISSED`."""
    lines = ["| | | ratio | aim | | |", "|---|---|---|---|---|---|"]
    for aim in aims:
        limit = f"{'at most' if aim.at_most else 'at least'} {aim.limit:g}"
        verdict = "met" if aim.is_met else "MISSED"
        lines.append(f"| {aim.part} | {aim.name} | {aim.ratio:.2f} | {limit} | {aim.note} | {verdict} |")
    return "\n".join(lines)
