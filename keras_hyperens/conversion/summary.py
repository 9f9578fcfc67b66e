"""What became of every layer, as a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keras_hyperens.hyperparameters.driven import Driven
from keras_hyperens.hyperparameters.driven import Setting


@dataclass(frozen=True)
class Record:
    """What became of one layer."""

    layer: str  # its name, after those of the models around it
    kind: str  # the class it was of
    became: str = ""  # the class it is of now; empty if it is shared by all members
    driven_by: str = ""
    reason: str = ""  # why it is shared, where somebody may wonder
    weights: int = 0  # how many numbers it had
    trained: int = 0  # and how many of them are trained, normalization aside


@dataclass(frozen=True)
class Report:
    """What became of every layer, and the hyperparameters that all members have in common: why each."""

    records: tuple[Record, ...]
    fixed: dict[str, str]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Report":
        """What `dataclasses.asdict` wrote, also after it was JSON."""
        return cls(tuple(Record(**each) for each in config["records"]), config["fixed"])


def describe(settings: dict[str, Setting]) -> str:
    """What drives a layer, for example `kernel_l2 = l2, rate = 0.5 dropout`."""
    parts = []
    for argument, setting in settings.items():
        driven = Driven.of(setting)
        if driven.name is not None:
            factor = "" if driven.factor == 1 else f"{driven.factor:g} "
            parts.append(f"{argument} = {factor}{driven.name}")
    return ", ".join(parts)


def share_of_members(records: Iterable[Record]) -> float | None:
    """The part of a model's trained parameters, normalization aside, in layers of members; `None` if there are none."""
    records = list(records)
    trained = sum(record.trained for record in records)
    return sum(record.trained for record in records if record.became) / trained if trained else None


def table(records: Iterable[Record], fixed: dict[str, str]) -> str:
    """How much is members' own, one line a layer, then the hyperparameters that all members have in common."""
    records = list(records)
    share = share_of_members(records)
    rows = [("layer", "was", "is now", "driven by")]
    for record in records:
        reason = record.reason or ("nothing in it is trained" if record.weights else "")
        now = record.became or ("shared: " + reason if reason else "shared")
        rows.append((record.layer, record.kind, now, record.driven_by))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[3]]).rstrip() for row in rows]
    if share is not None:
        lines = [
            f"{100 * share:.1f} % of the trained parameters, normalization aside, are in layers of members",
            "",
            *lines,
        ]
    if fixed:
        lines += ["", "Hyperparameters that all members have in common:"]
        lines += [f"  {name}: {why}" for name, why in fixed.items()]
    return "\n".join(lines)
