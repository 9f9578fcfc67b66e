"""Response of a trained network to a hyperparameter."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.checks import check_scale
from keras_hyperens.plots.checks import finite_array
from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import line_style
from keras_hyperens.plots.style import new_axes


def response_curve(
    values: Any,
    losses: Any,
    name: str = "",
    scale: str = "log",
    members: Any = None,
    at: Any = None,
    ax: Any = None,
) -> Figure:
    """Plots the validation loss of one trained network over the range of a hyperparameter.

    Args:
        values: Ascending values of the hyperparameter in natural scale, `[G]`.
        losses: Loss of the ensemble at each value, `[G]`.
        name: Name of the hyperparameter.
        scale: `"log"` or `"linear"`: the `sampling` of its `Hyperparameter`.
        members: Losses of the members, `[M, G]`, drawn as thin lines.
        at: Tuned values of the members, `[M]`, marked on their lines, or on that of the ensemble without `members`.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If shapes do not match, or `values` do not ascend or do not match the scale.

    Example:
    >>> figure = response_curve([0.1, 1.0, 10.0], [0.5, 0.3, 0.4], "l2", at=[0.1, 1.0])
    >>> figure.axes[0].lines[-1].get_xydata().tolist()
    [[1.0, 0.3]]
    """
    values, losses = finite_array("values", values, "[G]"), finite_array("losses", losses, "[G]")
    members = np.empty((0, len(values))) if members is None else finite_array("members", members, "[M, G]")
    at = np.empty(0) if at is None else finite_array("at", at, "[M]")
    _check_shapes(values, losses, members, at)
    check_scale("values", values, scale)
    ax = new_axes(ax)
    for number, member in enumerate(members):
        ax.plot(values, member, label=f"member {number}", **_style(number, len(at)))
    ax.plot(values, losses, color="black", linewidth=2.5, label="ensemble", zorder=2.5)
    for number, x in enumerate(at):
        y = _between(values, members[number] if len(members) else losses, x, scale)
        _mark(ax, x, y, number, None if len(members) else f"member {number}")
    marks = " (markers: tuned values of the members)" if len(at) else ""
    ax.set(xlabel=f"{name}{marks}", ylabel="validation loss", xscale=scale)
    ax.set_title(f"Response to {name or 'the hyperparameter'}")
    legend_above(ax)
    return ax.figure


def _check_shapes(values: np.ndarray, losses: np.ndarray, members: np.ndarray, at: np.ndarray) -> None:
    shapes = f"shapes {values.shape}, {losses.shape}, {members.shape}, {at.shape}"
    if len(losses) != len(values) or members.shape[1] != len(values) or (len(at) and 0 < len(members) != len(at)):
        raise ValueError(f"Shapes must be [G], [G], [M, G] and [M] for values, losses, members, at. Received: {shapes}")
    if np.any(np.diff(values) <= 0):
        raise ValueError(f"`values` must ascend. Received: values={values}")
    rounding = 1e-6 * (values[-1] - values[0])
    if len(at) and not values[0] - rounding <= at.min() <= at.max() <= values[-1] + rounding:
        raise ValueError(f"`at` must be in the range of values, [{values[0]}, {values[-1]}]. Received: at={at}")


def _style(number: int, marks: int) -> dict[str, Any]:
    style = line_style(number + 1, 1) | {"linewidth": 1.2, "markevery": []}  # markers only in the legend
    return style if marks else style | {"marker": ""}


def _between(values: np.ndarray, curve: np.ndarray, x: float, scale: str) -> float:
    """Returns the height of the curve at `x`, interpolated on the plotted scale."""
    if scale == "log":
        values, x = np.log(values), np.log(x)
    return float(np.interp(x, values, curve))


def _mark(ax: Any, x: float, y: float, number: int, label: str | None) -> None:
    style = line_style(number + 1, 1) | {"linestyle": "", "markersize": 9, "markeredgecolor": "white"}
    ax.plot([x], [y], zorder=3, label=label, **style)
