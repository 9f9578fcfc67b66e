"""Disagreement between pairs of members."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.checks import check_probabilities
from keras_hyperens.plots.style import new_axes


def diversity_matrix(members: Any, ax: Any = None) -> Figure:
    """Plots the percentage of samples for which the most probable classes of two members differ, for every pair.

    Args:
        members: Probabilities, `[M, N, C]`, of at least two members.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If there are fewer than two members, or the values are not probabilities.

    Example:
    >>> figure = diversity_matrix([[[0.9, 0.1], [0.6, 0.4]], [[0.7, 0.3], [0.2, 0.8]]])
    >>> figure.axes[0].images[0].get_array().tolist()
    [[0.0, 50.0], [50.0, 0.0]]
    """
    members = np.asarray(members)
    if members.ndim != 3 or len(members) < 2:
        raise ValueError(f"`members` must be [M, N, C] with at least two members. Received: shape={members.shape}")
    check_probabilities(members)
    votes = members.argmax(-1)
    shares = 100 * np.array([(votes != vote).mean(-1) for vote in votes])
    ax = new_axes(ax, (4.5, 4.5))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=max(1.4 * shares.max(), 1))
    _annotate(ax, shares)
    ticks = np.arange(len(votes))
    ax.set(xlabel="member", ylabel="member", xticks=ticks, yticks=ticks, title="Disagreement of two members (%)")
    return ax.figure


def _annotate(ax: Any, shares: np.ndarray) -> None:
    cell = ax.get_window_extent().height / len(shares) * 72 / ax.figure.dpi
    size = min(11, cell / 2.7)  # for a number with four characters
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.8 * shares.max() else "black"
        text = f"{share:.1f}" if row != column else "0"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
