"""Named hyperparameters, their ranges, and the conversion between values and positions.

Users see values in their natural scale. Embeddings and tuned bounds use the *position* z in [-1, 1] of a value in its
range: centered and of unit scale for every hyperparameter, so that one learning rate and one initial width apply to
all of them.
"""

import math
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.checks import is_number
from keras_hyperens.types import Tensor

if TYPE_CHECKING:
    import keras_tuner

SAMPLINGS = ("log", "linear")
FLOAT32 = np.finfo("float32")


@dataclass(frozen=True)
class Hyperparameter:
    """Hyperparameter with a name and a range of values.

    The position of a value `x` in a range from `a` to `b` is `z = 2 (ln x - ln a) / (ln b - ln a) - 1` on the log scale
    and `z = 2 (x - a) / (b - a) - 1` on the linear one.

    Args:
        name: The name by which layers refer to it, for example in `kernel_l2="l2"`.
        min_value: Smallest value, in natural units; above 0 on the log scale.
        max_value: Largest value, above `min_value`.
        sampling: `"log"` (for L2 coefficients and other values that span orders of magnitude) or `"linear"` (for
            rates), as in KerasTuner.

    Raises:
        ValueError: If the name is empty, the range is empty, inverted, not finite or too large or too narrow for
            float32, or the sampling is unknown.

    Example:
    >>> Hyperparameter("l2", 1e-6, 1e-2, "log")
    Hyperparameter(name='l2', min_value=1e-06, max_value=0.01, sampling='log')
    """

    name: str
    min_value: float
    max_value: float
    sampling: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"`name` must be a non-empty string. Received: name={self.name!r}")
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"`sampling` must be one of {SAMPLINGS}. Received: sampling={self.sampling!r}")
        bounds = (self.min_value, self.max_value)
        if not all(map(is_number, bounds)) or not self.min_value < self.max_value:
            raise ValueError(
                f"Hyperparameter {self.name!r} needs finite bounds with min_value < max_value. "
                f"Received: min_value={self.min_value!r}, max_value={self.max_value!r}"
            )
        if self.sampling == "log" and self.min_value <= 0:
            raise ValueError(
                f"Hyperparameter {self.name!r} is on the log scale and needs min_value > 0; use a "
                f'small positive value or sampling="linear". Received: min_value={self.min_value}'
            )
        self._check_float32()

    def _check_float32(self) -> None:
        """Checks that float32, in which values are computed, represents the range and distinguishes its ends."""
        lowest = float(FLOAT32.tiny) if self.sampling == "log" else float(FLOAT32.min)
        smallest, largest = self.min_value, self.max_value
        if smallest < lowest or largest > float(FLOAT32.max) or np.float32(smallest) == np.float32(largest):
            raise ValueError(
                f"Hyperparameter {self.name!r} needs a range that float32 can represent, with distinct ends "
                f"(on the log scale at least {FLOAT32.tiny:.3g}). "
                f"Received: min_value={self.min_value}, max_value={self.max_value}"
            )


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperparameterSpace:
    """Ordered set of hyperparameters that maps names to columns, and values to positions and back.

    Args:
        entries: `Hyperparameter` objects with distinct names, in the order of the columns. The space may be empty:
            the members of layers without hyperparameters differ only in their weights (a batch ensemble).

    Raises:
        TypeError: If an element is not a `Hyperparameter`.
        ValueError: If two elements have the same name.

    Example:
    >>> space = HyperparameterSpace([
    ...     Hyperparameter("l2", 1e-6, 1e-2, "log"),
    ...     Hyperparameter("dropout", 0.0, 0.5, "linear"),
    ... ])
    >>> space.names
    ('l2', 'dropout')
    >>> space.positions([[1e-4, 0.25]]).numpy().round(4)
    array([[0., 0.]], dtype=float32)
    """

    def __init__(self, entries: Iterable[Hyperparameter] = ()) -> None:
        if not isinstance(entries, Iterable):
            raise TypeError(f"A space consists of `Hyperparameter` objects. Received: {entries!r}")
        self._entries = tuple(entries)
        for entry in self._entries:
            if not isinstance(entry, Hyperparameter):
                raise TypeError(f"A space consists of `Hyperparameter` objects. Received: {entry!r}")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"Hyperparameter names must be distinct. Received: names={self.names}")
        self._is_log = np.array([entry.sampling == "log" for entry in self], bool)  # [P]
        scaled = np.array(
            [[self._scaled(entry, entry.min_value), self._scaled(entry, entry.max_value)] for entry in self]
        )
        low, high = scaled.reshape(-1, 2).T  # [P] each, logarithms where the scale is log
        self._center = ((high + low) / 2).astype("float32")
        self._radius = ((high - low) / 2).astype("float32")

    @staticmethod
    def _scaled(entry: Hyperparameter, value: float) -> float:
        return math.log(value) if entry.sampling == "log" else value

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self._entries)

    def column(self, name: str) -> int:
        """Returns the column of the hyperparameter `name`."""
        if name not in self.names:
            raise ValueError(f"Unknown hyperparameter; the space has {list(self.names)}. Received: {name!r}")
        return self.names.index(name)

    def positions(self, values: Tensor) -> Tensor:
        """Returns the positions z in [-1, 1] of natural values, `[..., P]` to `[..., P]`, in float32."""
        values = ops.convert_to_tensor(values, "float32")
        logarithms = ops.log(ops.where(self._is_log, values, 1.0))  # 1 keeps the unused branch finite
        return (ops.where(self._is_log, logarithms, values) - self._center) / self._radius

    def values(self, positions: Tensor) -> Tensor:
        """Returns the natural values at positions z, `[..., P]` to `[..., P]`, in float32."""
        return self._unscaled(positions, 1.0)

    def mean_values(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Returns the means of the natural values for z uniform on `[lower, upper]`, `[..., P]`.

        On the linear scale this is the value at the center; on the log scale `(b - a) / (ln b - ln a)` for natural
        bounds a and b, computed as `exp(center) sinh(h) / h` with h half their logarithmic distance, which is exact
        for equal bounds.
        """
        lower, upper = ops.convert_to_tensor(lower, "float32"), ops.convert_to_tensor(upper, "float32")
        half = self._radius * (upper - lower) / 2
        safe = ops.where(half > 1e-3, half, 1.0)
        ratio = ops.where(half > 1e-3, ops.sinh(safe) / safe, 1 + half**2 / 6)
        return self._unscaled((lower + upper) / 2, ratio)

    def _unscaled(self, positions: Tensor, log_factor: Tensor) -> Tensor:
        scaled = self._center + self._radius * ops.convert_to_tensor(positions, "float32")
        exponentials = ops.exp(ops.where(self._is_log, scaled, 0.0))
        return ops.where(self._is_log, exponentials * log_factor, scaled)

    @classmethod
    def from_keras_tuner(cls, hyperparameters: "keras_tuner.HyperParameters") -> "HyperparameterSpace":
        """Creates a space from the `Float` entries of a `keras_tuner.HyperParameters`.

        Raises:
            ValueError: If there is no `Float` entry, or if one has an unsupported sampling.
        """
        floats = [entry for entry in hyperparameters.space if type(entry).__name__ == "Float"]
        if not floats:
            raise ValueError(
                "`from_keras_tuner` needs at least one `Float` entry. "
                f"Received: {[entry.name for entry in hyperparameters.space]}"
            )
        return cls(cls._from_float(entry) for entry in floats)

    @staticmethod
    def _from_float(entry: Any) -> Hyperparameter:
        """Converts a `Float` entry of KerasTuner.

        Raises:
            ValueError: If its sampling is not supported.
        """
        sampling = entry.sampling or "linear"
        if sampling not in SAMPLINGS:
            raise ValueError(
                f"Hyperparameter {entry.name!r} must be sampled in one of {SAMPLINGS}. Received: sampling={sampling!r}"
            )
        return Hyperparameter(entry.name, entry.min_value, entry.max_value, sampling)

    def to_keras_tuner(self) -> "keras_tuner.HyperParameters":
        """Returns a `keras_tuner.HyperParameters` with one `Float` per hyperparameter, by default in the middle."""
        import keras_tuner

        hyperparameters = keras_tuner.HyperParameters()
        middles = ops.convert_to_numpy(self.values(np.zeros(len(self), "float32")))
        for entry, middle in zip(self, middles, strict=True):
            default = min(max(float(middle), entry.min_value), entry.max_value)
            hyperparameters.Float(
                entry.name, entry.min_value, entry.max_value, sampling=entry.sampling, default=default
            )
        return hyperparameters

    def get_config(self) -> dict[str, Any]:
        return {"entries": [asdict(entry) for entry in self]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HyperparameterSpace":
        names = {field.name for field in fields(Hyperparameter)}
        entries = config.get("entries")
        if entries is None or any(set(entry) != names for entry in entries):
            raise ValueError(
                "Another version of keras_hyperens wrote this space: save it again with this version, or install the "
                f"one that wrote it. Received: {config}"
            )
        return cls(Hyperparameter(**entry) for entry in entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Hyperparameter]:
        return iter(self._entries)

    def __getitem__(self, name: str) -> Hyperparameter:
        return self._entries[self.column(name)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HyperparameterSpace) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(self._entries)

    def __repr__(self) -> str:
        return f"HyperparameterSpace({list(self)!r})"
