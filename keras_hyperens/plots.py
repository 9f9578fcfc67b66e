"""Pictures of an ensemble (matplotlib, the extra `plots`). Every function draws on `ax` and returns the figure."""

from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

MARKERS = "osD^vP*Xph"  # members stay apart in grey


def reliability_diagram(labels: Any, probabilities: Any, num_bins: int = 15, ax: Any = None) -> Figure:
    """Accuracy against confidence, in bins of equal width; below, how many rows are in each.

    Args:
        labels: Classes, `[N]`.
        probabilities: Combined prediction, `[N, C]`.
        num_bins: Number of bins, as in `ExpectedCalibrationError`.
        ax: Where to draw. Default: a new figure.

    Raises:
        ValueError: If the shapes are not `[N]` and `[N, C]`.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(
            f"`labels` must be [N] and `probabilities` [N, C]. Received: shapes {labels.shape}, {probabilities.shape}"
        )
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.clip((confidence * num_bins).astype(int), 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    filled = counts > 0
    means = [np.bincount(bins, values, num_bins)[filled] / counts[filled] for values in (confidence, correct)]
    ax = _axes(ax)
    ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="as sure as right")
    ax.bar(
        (np.arange(num_bins) + 0.5) / num_bins,
        counts / counts.sum(),
        0.9 / num_bins,
        color="0.85",
        label="share of rows",
    )
    ax.plot(*means, color="tab:blue", linewidth=1, alpha=0.5)
    areas = 15 + 150 * np.sqrt(counts[filled] / counts.max())  # a bin of few rows says little
    ax.scatter(*means, areas, color="tab:blue", edgecolor="white", zorder=3, label="accuracy (larger: more rows)")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", title="Reliability")
    ax.legend(loc="upper left", frameon=False, fontsize="small")
    return ax.figure


def hyperparameter_path(bounds: Any, name: str = "", scale: str = "log", ax: Any = None) -> Figure:
    """The interval of each member over training.

    Args:
        bounds: `[epochs, M, 2]` in natural scale, an entry of `HyperparameterHistory.bounds`.
        name: Name of the hyperparameter.
        scale: `"log"` or `"linear"`, as in its `Hyperparameter`.
        ax: Where to draw. Default: a new figure.

    Raises:
        ValueError: If `bounds` does not have that shape.
    """
    bounds = np.asarray(bounds)
    if bounds.ndim != 3 or bounds.shape[-1] != 2:
        raise ValueError(f"`bounds` must be [epochs, members, 2]. Received: shape={bounds.shape}")
    ax = _axes(ax)
    epochs = np.arange(len(bounds))
    for member in range(bounds.shape[1]):
        lower, upper = bounds[:, member].T
        middle = np.sqrt(lower * upper) if scale == "log" else (lower + upper) / 2
        color = f"C{member % 10}"
        ax.fill_between(epochs, lower, upper, color=color, alpha=0.15, linewidth=0)
        every = max(1, len(epochs) // 8)
        ax.plot(epochs, middle, color=color, marker=MARKERS[member % 10], markevery=every, label=f"member {member}")
    ax.set(xlabel="epoch", ylabel=name, yscale=scale, title=f"Tuned intervals of {name}")
    ax.legend(frameon=False, ncols=2)
    return ax.figure


def scores_by_size(scores: dict[str, Any], metric: str = "NLL", ax: Any = None) -> Figure:
    """A score against the size of the ensemble, one line for each way to build it.

    Args:
        scores: By name, the scores of ensembles of 1, 2, ... members: what
            `HyperDeepEnsembleBuilder.scores_by_size` gives.
        metric: Name of the score.
        ax: Where to draw. Default: a new figure.

    Raises:
        ValueError: If there is nothing to draw.
    """
    if not scores or not any(len(values) for values in scores.values()):
        raise ValueError(f"At least one score is needed. Received: scores={scores}")
    ax = _axes(ax)
    for number, (name, values) in enumerate(scores.items()):
        sizes = np.arange(1, len(values) + 1)
        ax.plot(sizes, values, marker=MARKERS[number % 10], linestyle=("-", "--", ":")[number % 3], label=name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="members", ylabel=metric, title=f"{metric} against ensemble size")
    ax.legend(frameon=False)
    return ax.figure


def image_grid(images: Any, titles: list[str], columns: int = 6) -> Figure:
    """Images in rows of `columns`, each with a title.

    Args:
        images: `[N, height, width, 1 or 3]` in [0, 1].
        titles: N titles.
        columns: Images in a row.

    Raises:
        ValueError: If there is not one title per image.
    """
    if len(images) != len(titles) or not len(titles):
        raise ValueError(f"One title per image, and at least one. Received: {len(images)} images, {len(titles)} titles")
    rows = -(-len(titles) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.7 * columns, 2.1 * rows), squeeze=False)
    draw_images(axes.flat, images, titles)
    figure.tight_layout()
    return figure


def draw_images(axes: Any, images: Any, titles: list[str]) -> None:
    """Draws one image on each of `axes`, and leaves the rest empty."""
    axes = list(axes)
    for ax in axes:
        ax.axis("off")
    for ax, image, title in zip(axes, keras.ops.convert_to_numpy(images), titles):
        ax.imshow(image.squeeze(), cmap="gray" if image.shape[-1] == 1 else None, vmin=0, vmax=1)
        ax.set_title(title, fontsize=9)


def _axes(ax: Any) -> Any:
    return plt.subplots(figsize=(5, 4), layout="constrained")[1] if ax is None else ax
