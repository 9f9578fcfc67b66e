"""Number controlled by a hyperparameter: its value times a factor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_hyperens.hyperparameters.space import HyperparameterSpace
from keras_hyperens.types import Tensor

# User format: a hyperparameter's name, `(name, factor)`, a fixed number, or `None`.
Setting = str | tuple[str, float] | float | None


@dataclass(frozen=True)
class Driven:
    """`factor * value of the hyperparameter`; without a name the fixed number `factor`, or `None`."""

    name: str | None
    factor: Any

    @classmethod
    def of(cls, setting: Setting) -> "Driven":
        """Parses a setting."""
        if isinstance(setting, tuple | list) and len(setting) == 2:
            return cls(setting[0], setting[1])
        return cls(setting, 1.0) if isinstance(setting, str) else cls(None, setting)

    @property
    def setting(self) -> Setting:
        """The user format."""
        if self.name is None:
            return None if self.factor is None else float(self.factor)
        return self.name if self.factor == 1 else (self.name, float(self.factor))

    def value(self, values: Mapping[str, Any]) -> Tensor:
        """The number at the given hyperparameter values, by name."""
        return self.factor if self.name is None else self.factor * values[self.name]

    def interval(self, space: HyperparameterSpace) -> tuple[float, float]:
        """The minimum and maximum over the space."""
        if self.name is None:
            return self.factor, self.factor
        entry = space[self.name]
        lowest, highest = sorted((self.factor * entry.min_value, self.factor * entry.max_value))
        return lowest, highest
