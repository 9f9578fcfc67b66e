"""Uncertainty of in-distribution and out-of-distribution samples, of a reference and new data."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from matplotlib.ticker import FuncFormatter

from keras_hyperens.plots.checks import finite_array
from keras_hyperens.plots.style import COLORS
from keras_hyperens.plots.style import DASHES
from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import new_axes


def uncertainty_histograms(
    in_distribution: Any, out_of_distribution: Any, name: str = "predictive entropy", ax: Any = None
) -> Figure:
    """Plots the densities of an uncertainty measure for in-distribution and out-of-distribution samples.

    The AUROC is the probability that an out-of-distribution sample has the higher uncertainty, with ties counted half:
    1 separates all samples, 0.5 is chance. It is in the title for one out-of-distribution dataset, and otherwise in the
    legend. The vertical axis has a square root scale, because a good classifier is confident on nearly all
    in-distribution samples, which would dominate a linear scale.

    Args:
        in_distribution: Uncertainty of samples like the training data, `[N]`; higher is more uncertain.
        out_of_distribution: Uncertainty of other samples, `[K]`, or a dictionary of arrays by name.
        name: Name of the uncertainty measure.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If the uncertainties are not `[N]` and `[K]`, or not finite.

    Example:
    >>> figure = uncertainty_histograms([0.1, 0.2, 0.4], [0.3, 0.5])
    >>> figure.axes[0].get_title()  # 5 of 6 pairs are ordered correctly
    'In and out of distribution (AUROC 0.833)'
    """
    known = finite_array("in_distribution", in_distribution, "[N]")
    foreign = _datasets("out_of_distribution", out_of_distribution, "out of distribution")
    areas = {label: _auroc(known, values) for label, values in foreign.items()}
    title = "In and out of distribution"
    if len(foreign) == 1:
        title += f" (AUROC {next(iter(areas.values())):.3f})"
    else:
        foreign = {f"{label} (AUROC {areas[label]:.3f})": values for label, values in foreign.items()}
    return _of_densities(new_axes(ax), ("in distribution", known), foreign, name, title)


def drift_histograms(reference: Any, new: Any, name: str = "predictive entropy", ax: Any = None) -> Figure:
    """Plots the densities of an uncertainty measure for a reference and for new data; see `keras_hyperens.monitoring`.

    Args:
        reference: Uncertainty of the reference, `[N]`.
        new: Uncertainty of new samples, `[K]`, or a dictionary of arrays by name.
        name: Name of the uncertainty measure.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If the uncertainties are not `[N]` and `[K]`, or not finite.

    Example:
    >>> figure = drift_histograms([0.1, 0.2, 0.4], {"today": [0.3, 0.5]})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['reference', 'today']
    """
    known = finite_array("reference", reference, "[N]")
    arrays = _datasets("new", new, "new data")
    return _of_densities(new_axes(ax), ("reference", known), arrays, name, "Reference and new data")


def _datasets(argument: str, values: Any, label: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an argument by name: those of a dictionary, or one with this label."""
    several = values if isinstance(values, dict) else {label: values}
    if not several:
        raise ValueError(f"At least one dataset is required. Received: {argument}={values}")
    return {label: finite_array(argument, each, "[K]") for label, each in several.items()}


def _auroc(known: np.ndarray, foreign: np.ndarray) -> float:
    known = np.sort(known)
    below = [np.searchsorted(known, foreign, side) for side in ("left", "right")]
    return float(np.mean(below) / len(known))


def _of_densities(
    ax: Any, known: tuple[str, np.ndarray], foreign: dict[str, np.ndarray], name: str, title: str
) -> Figure:
    label, values = known
    edges = np.histogram_bin_edges(np.concatenate([values, *foreign.values()]), 30)
    ax.stairs(np.histogram(values, edges, density=True)[0], edges, fill=True, color="0.8", label=label)
    for number, (label, values) in enumerate(foreign.items()):
        ax.stairs(
            np.histogram(values, edges, density=True)[0],
            edges,
            edgecolor=COLORS[number % len(COLORS)],
            linestyle=DASHES[number % len(DASHES)],
            linewidth=1.5,
            label=label,
        )
    _set_square_root_scale(ax)
    ax.set(xlabel=name, ylabel="density (square root scale)", title=title)
    legend_above(ax)
    return ax.figure


def _set_square_root_scale(ax: Any) -> None:
    highest = ax.get_ylim()[1]
    ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    ax.set_ylim(0, highest)
    ticks = [factor * 10.0**exponent for exponent in range(-9, 10) for factor in (1, 3)]
    ax.yaxis.set_major_locator(FixedLocator([0, *(tick for tick in ticks if tick > highest / 100)]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
