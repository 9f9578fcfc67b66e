"""Reliability diagram."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import LogLocator
from matplotlib.ticker import NullLocator

from keras_hyperens.plots.checks import checked_predictions
from keras_hyperens.plots.style import COLORS
from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import new_axes

MOST_BINS = 1000  # limit of visibility
LOWEST = -0.42  # sample fractions are drawn below the accuracies, inside the same `ax`, independent of the layout


def reliability_diagram(labels: Any, probabilities: Any, num_bins: int = 15, ax: Any = None) -> Figure:
    """Plots accuracy by confidence in bins of equal width, and the fraction of samples per bin; the title has the ECE.

    Vertical lines are 95 % (Wilson) intervals of the accuracies, which are wide for bins with few samples. The
    fractions have a log scale, because most samples of a good classifier are in the last bin.

    Args:
        labels: Classes, `[N]`.
        probabilities: Combined prediction, `[N, C]`.
        num_bins: Number of bins, as in `ExpectedCalibrationError`.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If the shapes are not `[N]` and `[N, C]`, the values are not classes and probabilities, or
            `num_bins` is not an integer in [1, 1000].

    Example:
    >>> figure = reliability_diagram([0, 1], [[0.8, 0.2], [0.8, 0.2]])
    >>> figure.axes[0].get_title()
    'Reliability (ECE 0.300)'
    """
    confidence, correct = checked_predictions(labels, probabilities)
    if not isinstance(num_bins, int) or not 1 <= num_bins <= MOST_BINS:
        raise ValueError(
            f"`num_bins` must be a positive integer of at most {MOST_BINS}. Received: num_bins={num_bins!r}"
        )
    bins = np.clip((confidence * num_bins).astype(int), 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    filled = counts > 0
    sure, right = (np.bincount(bins, values, num_bins)[filled] / counts[filled] for values in (confidence, correct))
    error = np.sum(counts[filled] * np.abs(sure - right)) / counts.sum()
    ax = new_axes(ax, (4.5, 4.5))
    _draw_accuracies(ax, sure, right, counts[filled])
    _draw_shares(ax, counts)
    ax.set(xlabel="confidence", title=f"Reliability (ECE {error:.3f})")
    legend_above(ax)
    return ax.figure


def _draw_accuracies(ax: Any, sure: np.ndarray, right: np.ndarray, counts: np.ndarray) -> None:
    lower, upper = _wilson(right, counts)
    ax.plot([0, 1], [0, 1], color="0.55", linestyle="--", linewidth=1, label="perfect")
    ax.errorbar(
        sure,
        right,
        np.maximum([right - lower, upper - right], 0),  # negative only by rounding
        color=COLORS[0],
        marker="o",
        markersize=5,
        elinewidth=1,
        clip_on=False,
        label="accuracy (95 % interval)",
    )
    ax.set(xlim=(0, 1), ylim=(LOWEST, 1.03), yticks=np.linspace(0, 1, 6))
    ax.set_ylabel("accuracy", y=0.6)


def _wilson(share: np.ndarray, number: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    middle = share + z**2 / (2 * number)
    half = z * np.sqrt(share * (1 - share) / number + (z / (2 * number)) ** 2)
    return (middle - half) / (1 + z**2 / number), (middle + half) / (1 + z**2 / number)


def _draw_shares(ax: Any, counts: np.ndarray) -> None:
    below = ax.inset_axes((0, LOWEST, 1, -LOWEST - 0.08), transform=ax.transData)
    number, rows = len(counts), counts.sum()
    below.bar((np.arange(number) + 0.5) / number, counts / rows, 0.9 / number, color="0.75", edgecolor="0.4")
    below.set(xlim=(0, 1), xticks=[], ylabel="samples", yscale="log", ylim=(0.5 / rows, 2))
    below.yaxis.set_major_locator(LogLocator(100))
    below.yaxis.set_minor_locator(NullLocator())
    below.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    below.tick_params(labelsize="small")
