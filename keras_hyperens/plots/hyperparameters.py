"""Hyperparameters of the members during training."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.checks import check_scale
from keras_hyperens.plots.checks import finite_array
from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import line_style
from keras_hyperens.plots.style import new_axes


def hyperparameter_path(bounds: Any, name: str = "", scale: str = "log", ax: Any = None) -> Figure:
    """Plots the interval of each member during training, and its center.

    Args:
        bounds: `[epochs, M, 2]` in natural scale, an entry of `HyperparameterHistory.bounds`.
        name: Name of the hyperparameter.
        scale: `"log"` or `"linear"`: the `sampling` of its `Hyperparameter`.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If `bounds` does not have that shape, or does not match the scale.

    Example:
    >>> figure = hyperparameter_path([[[1e-4, 1e-2]], [[1e-3, 1e-1]]], "l2")
    >>> figure.axes[0].lines[0].get_ydata().round(6).tolist()
    [0.001, 0.01]
    """
    bounds = finite_array("bounds", bounds, "[epochs, members, 2]")
    if bounds.shape[-1] != 2:
        raise ValueError(f"`bounds` must be [epochs, members, 2]. Received: shape={bounds.shape}")
    check_scale("bounds", bounds, scale)
    ax = new_axes(ax)
    epochs = np.arange(len(bounds))
    for member in range(bounds.shape[1]):
        lower, upper = bounds[:, member].T
        middle = np.sqrt(lower * upper) if scale == "log" else (lower + upper) / 2
        (line,) = ax.plot(epochs, middle, label=f"member {member}", **line_style(member, len(epochs)))
        ax.fill_between(epochs, lower, upper, color=line.get_color(), alpha=0.12, linewidth=0)
    ax.set(xlabel="epoch", ylabel=name, yscale=scale, title=f"Tuned intervals{name and ' of '}{name}")
    legend_above(ax)
    return ax.figure
