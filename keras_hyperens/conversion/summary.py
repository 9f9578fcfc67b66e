"""Summary of the conversion of every layer, as a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keras_hyperens.hyperparameters.driven import Driven
from keras_hyperens.hyperparameters.driven import Setting


@dataclass(frozen=True)
class Record:
    """Conversion of one layer."""

    layer: str  # its name, after those of the enclosing models
    kind: str  # its original class
    became: str = ""  # its new class; empty if all members share it
    driven_by: str = ""
    reason: str = ""  # reason why it is shared, unless expected
    weights: int = 0  # number of parameters
    trained: int = 0  # number of trainable parameters, excluding normalization


@dataclass(frozen=True)
class Report:
    """Conversion of every layer, and the hyperparameters common to all members with the reason."""

    records: tuple[Record, ...]
    fixed: dict[str, str]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Report":
        """Restores the result of `dataclasses.asdict`, also from JSON."""
        return cls(tuple(Record(**each) for each in config["records"]), config["fixed"])


def describe(settings: dict[str, Setting]) -> str:
    """Returns the hyperparameters of a layer, for example `kernel_l2 = l2, rate = 0.5 dropout`."""
    parts = []
    for argument, setting in settings.items():
        driven = Driven.of(setting)
        if driven.name is not None:
            factor = "" if driven.factor == 1 else f"{driven.factor:g} "
            parts.append(f"{argument} = {factor}{driven.name}")
    return ", ".join(parts)


def share_of_members(records: Iterable[Record]) -> float | None:
    """Returns the fraction of trained parameters in layers of members, excluding normalization; `None` without any."""
    records = list(records)
    trained = sum(record.trained for record in records)
    return sum(record.trained for record in records if record.became) / trained if trained else None


def table(records: Iterable[Record], fixed: dict[str, str]) -> str:
    """Returns the fraction of member-specific parameters, one line per layer, and the common hyperparameters."""
    records = list(records)
    share = share_of_members(records)
    rows = [("layer", "original", "converted", "hyperparameters")]
    for record in records:
        reason = record.reason or ("no trained weights" if record.weights else "")
        now = record.became or ("shared: " + reason if reason else "shared")
        rows.append((record.layer, record.kind, now, record.driven_by))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[3]]).rstrip() for row in rows]
    if share is not None:
        lines = [
            f"{100 * share:.1f} % of the trained parameters (excluding normalization) are in layers of members",
            "",
            *lines,
        ]
    if fixed:
        lines += ["", "Hyperparameters common to all members:"]
        lines += [f"  {name}: {why}" for name, why in fixed.items()]
    return "\n".join(lines)
