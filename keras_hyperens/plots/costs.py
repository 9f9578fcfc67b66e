"""Scores of ensembles by cost."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from keras_hyperens.plots.style import line_style
from keras_hyperens.plots.style import new_axes


def cost_frontier(frontier: Sequence[Any], metric: str = "NLL", cost: str = "cost", ax: Any = None) -> Figure:
    """Plots the lowest score of an ensemble by maximum cost, a step function with one step per ensemble of a frontier.

    Args:
        frontier: Result of `HyperDeepEnsembleBuilder.cost_frontier`: elements with a `cost` and a `score`.
        metric: Name of the score.
        cost: Name and unit of the cost.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If the frontier is empty.

    Example:
    >>> from keras_hyperens.search import FrontierPoint
    >>> points = [FrontierPoint(("a",), (1.0,), 10.0, 0.5), FrontierPoint(("a", "b"), (0.5, 0.5), 30.0, 0.4)]
    >>> figure = cost_frontier(points, cost="parameters")
    >>> figure.axes[0].lines[0].get_xydata().tolist()
    [[10.0, 0.5], [30.0, 0.4]]
    """
    points = list(frontier)
    if not points:
        raise ValueError(
            "The frontier must have an ensemble: build one with a `cost` first. Received: an empty frontier"
        )
    ax = new_axes(ax)
    style = {**line_style(0, 1), "marker": "o"}
    ax.plot([each.cost for each in points], [each.score for each in points], drawstyle="steps-post", **style)
    ax.set(xlabel=cost, ylabel=metric, title=f"{metric} by cost of all members")
    return ax.figure
