"""Images with the lowest and the highest uncertainty."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.checks import finite_array
from keras_hyperens.plots.style import new_axes

GAP = 0.08  # between images, in image widths
FONT = 9
LETTER, LINE = 0.58, 1.25  # width of a letter and line height, in font sizes


def certain_images(images: Any, uncertainty: Any, titles: Any = None, number: int = 6, ax: Any = None) -> Figure:
    """Plots the images with the lowest uncertainty in one row, and those with the highest below; extremes on the left.

    Args:
        images: `[N, height, width, 1 or 3]` in [0, 1].
        uncertainty: `[N]`; higher is more uncertain.
        titles: N titles. Defaults to the uncertainties.
        number: Images per row, at most N / 2.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If `images` has another shape or values outside of [0, 1], there is not one uncertainty and one
            title per image, or `number` is too large.
    """
    images, uncertainty = np.asarray(images), finite_array("uncertainty", uncertainty, "[N]")
    titles = [f"{value:#.2g}" for value in uncertainty] if titles is None else titles
    if not len(images) == len(uncertainty) == len(titles):
        raise ValueError(
            "There must be one uncertainty and one title per image. "
            f"Received: {len(images)} images, {len(uncertainty)} uncertainties, {len(titles)} titles"
        )
    if not 1 <= number <= len(images) // 2:
        raise ValueError(f"`number` must be from 1 to half of {len(images)} images. Received: number={number}")
    order = np.argsort(uncertainty, kind="stable")
    shown = np.concatenate([order[:number], order[: -number - 1 : -1]])
    return _draw(images[shown], [titles[i] for i in shown], number, ax, ("most certain", "least certain"))


def image_grid(images: Any, titles: list[str], columns: int = 6, ax: Any = None) -> Figure:
    """Plots images in rows of `columns`, each with a title.

    Args:
        images: `[N, height, width, 1 or 3]` in [0, 1].
        titles: N titles.
        columns: Images per row.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If `images` has another shape or values outside of [0, 1], or there is not one title per image.
    """
    if len(images) != len(titles):
        raise ValueError(f"There must be one title per image. Received: {len(images)} images, {len(titles)} titles")
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1. Received: columns={columns}")
    return _draw(images, titles, columns, ax)


def _draw(images: Any, titles: Any, columns: int, ax: Any, labels: Any = ()) -> Figure:
    """Draws on one axes, with images of width 1 and `(0, 0)` at the upper left corner of the first image."""
    images, titles = _checked_images(images), [str(title) for title in titles]
    height, rows = images.shape[1] / images.shape[2], -(-len(images) // columns)
    lines = max(title.count("\n") + 1 for title in titles)
    ax = new_axes(ax, (1.5 * columns + 0.3, rows * (1.5 * height + 0.18 * lines)))
    size = _font_size(ax, titles, columns)
    width = _width_of_image(ax, lines * size, columns, rows, height)
    text = LINE * lines * size / width
    step = height + text + GAP
    for place, (image, title) in enumerate(zip(images, titles)):
        left, top = place % columns * (1 + GAP), place // columns * step
        _draw_image(ax, image, (left, left + 1, top + height, top))
        ax.text(left + 0.5, top - GAP / 3, title, ha="center", va="bottom", fontsize=size)
    for row, label in enumerate(labels):
        _label_row(ax, label, row * step + height / 2, height * width)
    ax.set(xlim=(-0.25 * bool(labels), columns * (1 + GAP) - GAP), ylim=(rows * step - text - GAP, -text))
    ax.set_aspect("equal")
    ax.axis("off")
    return ax.figure


def _draw_image(ax: Any, image: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    if image.shape[-1] == 1:
        ax.imshow(image[..., 0], cmap="gray", extent=extent, vmin=0, vmax=1)
    else:
        ax.imshow(image, extent=extent)


def _label_row(ax: Any, label: str, middle: float, points: float) -> None:
    size = min(FONT + 1, points / (LETTER * len(label)))
    ax.text(-GAP, middle, label, ha="right", va="center", rotation=90, fontsize=size)


def _font_size(ax: Any, titles: list[str], columns: int) -> float:
    longest = max(len(line) for title in titles for line in title.split("\n"))
    points = ax.get_window_extent().width / columns * 72 / ax.figure.dpi
    return min(FONT, points / (LETTER * max(longest, 1)))


def _width_of_image(ax: Any, size: float, columns: int, rows: int, height: float) -> float:
    """Returns the width in points of images that fill the axes as far as titles of this size permit."""
    frame, points = ax.get_window_extent(), 72 / ax.figure.dpi
    beside = points * frame.width / (columns * (1 + GAP))
    above = (points * frame.height - rows * LINE * size) / (rows * (height + GAP))
    return max(min(beside, above), size)


def _checked_images(images: Any) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(f"`images` must be [N, height, width, 1 or 3]. Received: shape={images.shape}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"`images` must be in [0, 1]. Received: values from {images.min()} to {images.max()}")
    return images
