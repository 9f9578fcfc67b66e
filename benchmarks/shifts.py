"""Images that a network was not trained for."""

import numpy as np


def rotated(images: np.ndarray) -> np.ndarray:
    """A quarter turn."""
    return np.rot90(images, axes=(1, 2)).copy()


def fitted(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Gray images in the middle of larger black ones, `[N, *shape]`, with equal channels where `shape` has color."""
    edges = [(inside // 2, inside - inside // 2) for inside in np.subtract(shape[:2], images.shape[1:3])]
    padded = np.pad(images, [(0, 0), *edges, (0, 0)])
    return np.broadcast_to(padded, (len(images), *shape))
