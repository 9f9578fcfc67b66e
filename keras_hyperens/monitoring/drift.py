"""Tests for a difference between two samples of a measure.

There are two tests per measure. Kolmogorov-Smirnov: the largest distance between the two distribution functions.
Population stability index: with the fractions r of the reference and n of the new data in ten bins with equally many
reference samples, `sum (n - r) ln(n / r)`. Without drift it is approximately `1 / N_r + 1 / N_n` times a chi-squared
variable with 9 degrees of freedom (each bin is counted with half an additional sample, so that none is empty).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

PARTS = 10
TESTS = 2  # per measure


@dataclass(frozen=True)
class MeasureDrift:
    """Comparison of one measure.

    Attributes:
        name: Name of the measure.
        distance: Kolmogorov-Smirnov statistic, in [0, 1].
        distance_p_value: p-value of the distance.
        stability_index: Population stability index: 0 for equal distributions. Common rules of thumb for large samples
            are 0.1 for moderate and 0.25 for large changes; the alarm depends on the p-value.
        stability_p_value: p-value of the index.
        median_change: Median of the new data minus that of the reference.
    """

    name: str
    distance: float
    distance_p_value: float
    stability_index: float
    stability_p_value: float
    median_change: float


@dataclass(frozen=True)
class Drift:
    """Comparison of new data with a reference.

    An alarm is raised if one of the two p-values of one of K measures is below `false_alarm_rate / (2 K)`. If the new
    samples are independent and distributed like the reference, the probability of an alarm is about `false_alarm_rate`
    or less (the tests are dependent, and measures have ties). At most about `1000 * false_alarm_rate` of a thousand
    batches raise a false alarm.

    Attributes:
        false_alarm_rate: Maximum probability of an alarm without drift.
        samples: Number of new samples.
        measures: Comparison of each measure.
    """

    false_alarm_rate: float
    samples: int
    measures: tuple[MeasureDrift, ...]

    @property
    def p_value(self) -> float:
        """The lowest p-value times the number of tests (Bonferroni), at most 1."""
        lowest = min(min(each.distance_p_value, each.stability_p_value) for each in self.measures)
        return min(1.0, TESTS * len(self.measures) * lowest)

    @property
    def alarm(self) -> bool:
        """Whether the new data differ from the reference."""
        return self.p_value < self.false_alarm_rate

    def __str__(self) -> str:
        said = "differ from the reference" if self.alarm else "are consistent with the reference"
        lines = [f"These {self.samples} samples {said} (p = {self.p_value:.2g}, alarm below {self.false_alarm_rate:g})"]
        for each in self.measures:
            lines.append(
                f"  {each.name}: median {each.median_change:+.3g}, distance {each.distance:.3f} "
                f"(p = {each.distance_p_value:.2g}), stability index {each.stability_index:.3f} "
                f"(p = {each.stability_p_value:.2g})"
            )
        return "\n".join(lines)


def drift_between(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], false_alarm_rate: float) -> Drift:
    """Compares measures `[N]` of new data with those of a reference, by name."""
    samples = len(next(iter(new.values())))
    return Drift(false_alarm_rate, samples, tuple(_of_measure(name, old[name], new[name]) for name in old))


def _of_measure(name: str, old: np.ndarray, new: np.ndarray) -> MeasureDrift:
    from scipy import stats  # extra `monitoring`

    found = stats.ks_2samp(old, new, method="asymp")
    index, parts = _stability_index(old, new)
    scale = 1 / len(old) + 1 / len(new)
    p_value = float(stats.chi2.sf(index / scale, parts - 1)) if parts > 1 else 1.0
    change = float(np.median(new) - np.median(old))
    return MeasureDrift(name, float(found.statistic), float(found.pvalue), index, p_value, change)


def _stability_index(old: np.ndarray, new: np.ndarray) -> tuple[float, int]:
    """Returns the index and the number of bins, fewer than ten if values of the reference are equal."""
    edges = np.unique(np.quantile(old, np.linspace(0, 1, PARTS + 1)[1:-1]))
    shares = []
    for values in (old, new):
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()), len(edges) + 1
