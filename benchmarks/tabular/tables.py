"""Division and encoding of tables, equal for all methods."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks.tabular.sets import Frame

TEST, HELD_OUT = 0.2, 0.25  # fractions: of all samples, and relative to the training samples
MOST_TESTED = 20_000
RARE = 10  # categories with fewer training samples count as unknown
QUANTILES = 1000


@dataclass(frozen=True)
class Samples:
    """N samples of a table.

    Attributes:
        numbers: `[N, n]`, transformed to a normal distribution by the quantiles of the training samples; 0 if missing.
        categories: `[N, c]`, keys that differ between columns.
        raw: `[N, n + c]`, untransformed numbers and keys, for trees.
        targets: `[N]`, values standardized by the training samples, or classes.
    """

    numbers: np.ndarray
    categories: np.ndarray
    raw: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def __add__(self, other: "Samples") -> "Samples":
        return Samples(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __getitem__(self, chosen: np.ndarray | slice) -> "Samples":
        return Samples(*(part[chosen] for part in vars(self).values()))

    @property
    def data(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Arguments `x` and `y` of `fit`."""
        return {"numbers": self.numbers, "categories": self.categories}, self.targets


@dataclass(frozen=True)
class Table:
    """A divided table.

    Attributes:
        classes: Number of classes; 0 for regression.
        target, center, scale: Unit of the targets, and their standardization.
        later: Out-of-distribution samples, or `None`.
    """

    name: str
    classes: int
    target: str
    center: float
    scale: float
    train: Samples
    tuning: Samples
    validation: Samples
    test: Samples
    later: Samples | None

    @cached_property
    def held_out(self) -> Samples:
        """Tuning and validation samples together."""
        return self.tuning + self.validation

    @cached_property
    def vocabularies(self) -> list[np.ndarray]:
        """Sorted keys of each categorical column, without rare ones."""
        found = (np.unique(column, return_counts=True) for column in self.train.categories.T)
        return [keys[counts >= RARE] for keys, counts in found]

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the numbers `[n]`, for `keras.layers.Normalization`."""
        return self.train.numbers.mean(0), np.maximum(self.train.numbers.var(0), 1e-6)


def divided(name: str, frame: Frame, seed: int, samples: int = 20_000) -> Table:
    """Divides the earlier samples of a table: 64 % for training, 16 % held out, 20 % for the test.

    Args:
        name: Name of the table.
        frame: Samples of the table.
        seed: Random seed of the division.
        samples: Maximum number of training samples; a quarter as many are held out.
    """
    generator = np.random.default_rng(seed)
    is_later = np.zeros(len(frame.targets), bool) if frame.is_later is None else frame.is_later
    earlier, later = (generator.permutation(np.flatnonzero(each)) for each in (~is_later, is_later))
    number = round(TEST * len(earlier))
    test, rest = earlier[:number], earlier[number:]
    train = rest[: min(samples, len(rest) - round(0.2 * len(rest)))]
    held_out = rest[len(train) :][: round(HELD_OUT * len(train))]
    parts = [train, *np.array_split(held_out, 2), test[:MOST_TESTED], later[:MOST_TESTED]]
    numbers, categories, raw = _encoded(frame.features, train, generator)
    center, scale = (0.0, 1.0) if frame.classes else (frame.targets[train].mean(), frame.targets[train].std())
    targets = frame.targets if frame.classes else ((frame.targets - center) / scale).astype("float32")
    every = Samples(numbers, categories, raw, targets)
    *known, later = (every[part] for part in parts)
    described = name, frame.classes, frame.target, float(center), float(scale)
    return Table(*described, *known, later if is_later.any() else None)


def _encoded(
    features: pd.DataFrame, train: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns numbers `[N, n]`, keys of categories `[N, c]` and inputs of trees `[N, n + c]`."""
    found = features.select_dtypes(["number", "bool"])
    values = found.to_numpy("float64")
    columns = [_normal(column, train, generator) for column in values.T]
    columns += [np.isnan(column) for column in values.T if np.isnan(column[train]).any()]
    codes = [pd.factorize(features[name].fillna("missing"))[0] for name in features.columns.difference(found.columns)]
    starts = np.cumsum([0, *(code.max() + 1 for code in codes)])[:-1]
    keys = np.stack(codes, -1).astype("int64") + starts
    return np.stack(columns, -1).astype("float32"), keys, np.concatenate([values, keys], -1)


def _normal(column: np.ndarray, train: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Transforms a column to a standard normal distribution by its quantiles; missing values become 0.

    Small noise separates equal values, so that a frequent value maps to the center of its quantiles.
    """
    from scipy.special import ndtri

    known = column[train][~np.isnan(column[train])]
    if len(np.unique(known)) <= 2:
        return np.nan_to_num(column, nan=np.mean(known))
    noisy = known + generator.normal(0, 1e-3 * known.std(), len(known))
    shares = np.linspace(0, 1, min(QUANTILES, len(known)))
    quantile = np.interp(column, np.quantile(noisy, shares), shares)
    return np.nan_to_num(ndtri(np.clip(quantile, 1e-3, 1 - 1e-3)))
