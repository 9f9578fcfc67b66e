"""Common style of the plots: axes, lines that differ in grayscale, and a legend that covers no data."""

from typing import Any

import matplotlib.pyplot as plt

COLORS = ("#14396b", "#d9730d", "#3a9d6e", "#a32020", "#56a7d8", "#8a4fa3", "#d9a400", "#555555")  # neighbors differ
MARKERS = "osD^vP*Xph"  # in lightness, too
DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))


def new_axes(ax: Any, size: tuple[float, float] = (5, 4)) -> Any:
    """Returns `ax`, or the axes of a new figure of `size` inches."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def line_style(number: int, points: int) -> dict[str, Any]:
    """Returns color, dashes and about 8 markers of line `number` with this number of `points`."""
    every = max(1, points // 8)
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": DASHES[number % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
        "markevery": (number * every // 3 % every, every),  # different positions per line
    }


def legend_above(ax: Any) -> None:
    """Draws a legend in as few rows as possible, and extends the vertical axis until it covers no data."""
    frame, number = ax.get_window_extent(), len(ax.get_legend_handles_labels()[1])
    for rows in range(1, max(number, 1) + 1):
        legend = ax.legend(
            loc="upper center", ncols=-(-number // rows), frameon=False, fontsize="small", handlelength=3
        )
        box = legend.get_window_extent()
        if box.width < frame.width:
            break
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(ax.get_ylim())
    share = min(0.6, 1.2 * box.height / frame.height)
    ax.set_ylim(top=scale.inverted().transform(low + (high - low) / (1 - share)))
