"""A score of several methods against something that is counted: members, or strength of a corruption."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import line_style
from keras_hyperens.plots.style import new_axes


def scores_by_size(scores: dict[str, Any], metric: str = "NLL", ax: Any = None) -> Figure:
    """A score against the size of the ensemble, one line for each way to build it.

    Args:
        scores: By name, the scores of ensembles of 1, 2, ... members: what
            `HyperDeepEnsembleBuilder.scores_by_size` gives.
        metric: Name of the score.
        ax: Where to draw. Default: a new figure.

    Raises:
        ValueError: If there is nothing to draw, a name has no score, or scores are not lists.

    Example:
    >>> figure = scores_by_size({"deep ensemble": [0.5, 0.4], "hyper-deep ensemble": [0.5, 0.3]})
    >>> figure.axes[0].lines[1].get_xydata().tolist()
    [[1.0, 0.5], [2.0, 0.3]]
    """
    ax = _draw_scores(_checked_scores(scores), 1, ax)
    ax.set(xlabel="members", ylabel=metric, title=f"{metric} against ensemble size")
    legend_above(ax)
    return ax.figure


def corruption_curves(scores: dict[str, Any], metric: str = "NLL", ax: Any = None) -> Figure:
    """A score against the strength of a corruption of the test rows, one line for each method.

    Args:
        scores: By name of the method, the scores at strength 0 (clean), 1, 2, ...
        metric: Name of the score.
        ax: Where to draw. Default: a new figure.

    Raises:
        ValueError: If a name has no score, or scores are not lists, or not all of one length.

    Example:
    >>> figure = corruption_curves({"single network": [0.2, 0.5, 0.9], "ensemble": [0.2, 0.4, 0.6]})
    >>> figure.axes[0].lines[1].get_xydata().tolist()
    [[0.0, 0.2], [1.0, 0.4], [2.0, 0.6]]
    """
    checked = _checked_scores(scores)
    lengths = {name: len(values) for name, values in checked.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Every method needs a score for each strength. Received: numbers of scores {lengths}")
    ax = _draw_scores(checked, 0, ax)
    ax.set(xlabel="strength of the corruption (0: clean)", ylabel=metric, title=f"{metric} under corruption")
    legend_above(ax)
    return ax.figure


def _checked_scores(scores: Any) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(values, "float64") for name, values in dict(scores).items()}
    if not arrays or any(values.ndim != 1 or not len(values) for values in arrays.values()):
        raise ValueError(f"At least one score is needed of each name, as a list. Received: scores={scores}")
    return arrays


def _draw_scores(scores: dict[str, np.ndarray], start: int, ax: Any) -> Any:
    ax = new_axes(ax)
    for number, (name, values) in enumerate(scores.items()):
        ax.plot(start + np.arange(len(values)), values, label=name, **line_style(number, 1))
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax
