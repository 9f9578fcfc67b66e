"""Scores of several methods by number of members or intensity of a corruption."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import line_style
from keras_hyperens.plots.style import new_axes


def scores_by_size(scores: dict[str, Any], metric: str = "NLL", ax: Any = None) -> Figure:
    """Plots a score by ensemble size, with one line per method.

    Args:
        scores: Dictionary from names to scores of ensembles of 1, 2, ... members, as returned by
            `HyperDeepEnsembleBuilder.scores_by_size`.
        metric: Name of the score.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If `scores` is empty, a name has no score, or scores are not lists.

    Example:
    >>> figure = scores_by_size({"deep ensemble": [0.5, 0.4], "hyper-deep ensemble": [0.5, 0.3]})
    >>> figure.axes[0].lines[1].get_xydata().tolist()
    [[1.0, 0.5], [2.0, 0.3]]
    """
    ax = _draw_scores(_checked_scores(scores), 1, ax)
    ax.set(xlabel="members", ylabel=metric, title=f"{metric} by ensemble size")
    legend_above(ax)
    return ax.figure


def corruption_curves(scores: dict[str, Any], metric: str = "NLL", ax: Any = None) -> Figure:
    """Plots a score by intensity of a corruption of the test data, with one line per method.

    Args:
        scores: Dictionary from names of methods to scores at intensity 0 (clean), 1, 2, ...
        metric: Name of the score.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If a name has no score, scores are not lists, or their lengths differ.

    Example:
    >>> figure = corruption_curves({"single network": [0.2, 0.5, 0.9], "ensemble": [0.2, 0.4, 0.6]})
    >>> figure.axes[0].lines[1].get_xydata().tolist()
    [[0.0, 0.2], [1.0, 0.4], [2.0, 0.6]]
    """
    checked = _checked_scores(scores)
    lengths = {name: len(values) for name, values in checked.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Every method needs one score per intensity. Received: numbers of scores {lengths}")
    ax = _draw_scores(checked, 0, ax)
    ax.set(xlabel="corruption intensity (0: clean)", ylabel=metric, title=f"{metric} under corruption")
    legend_above(ax)
    return ax.figure


def _checked_scores(scores: Any) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(values, "float64") for name, values in dict(scores).items()}
    if not arrays or any(values.ndim != 1 or not len(values) for values in arrays.values()):
        raise ValueError(f"Every name needs at least one score, as a list. Received: scores={scores}")
    return arrays


def _draw_scores(scores: dict[str, np.ndarray], start: int, ax: Any) -> Any:
    ax = new_axes(ax)
    for number, (name, values) in enumerate(scores.items()):
        ax.plot(start + np.arange(len(values)), values, label=name, **line_style(number, 1))
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax
