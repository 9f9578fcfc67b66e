"""Images that a network was not trained for: corrupted ones, and ones that are out of its distribution altogether."""

from collections.abc import Callable

import numpy as np

STRENGTHS = (1, 2, 3, 4, 5)


def noise(images: np.ndarray, strength: int) -> np.ndarray:
    """Gaussian noise, 0.1 of the full range for each strength."""
    generator = np.random.default_rng(strength)
    return np.clip(images + generator.normal(0, 0.1 * strength, images.shape), 0, 1).astype("float32")


def blur(images: np.ndarray, strength: int) -> np.ndarray:
    """A Gaussian blur, half a pixel for each strength."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, 0.5 * strength, 0.5 * strength, 0)).astype("float32")


def contrast(images: np.ndarray, strength: int) -> np.ndarray:
    """Contrast around an image's mean: 85 % to 25 % of what it was."""
    means = images.mean((1, 2, 3), keepdims=True)
    return (means + (images - means) * (1 - 0.15 * strength)).astype("float32")


CORRUPTIONS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"noise": noise, "blur": blur, "contrast": contrast}


def rotated(images: np.ndarray) -> np.ndarray:
    """A quarter turn."""
    return np.rot90(images, axes=(1, 2)).copy()


def gray(images: np.ndarray, size: int) -> np.ndarray:
    """The middle of color images, as luma, `[N, size, size, 1]`."""
    edge = (images.shape[1] - size) // 2
    middle = images[:, edge : edge + size, edge : edge + size]
    return (middle @ np.array([0.299, 0.587, 0.114], "float32"))[..., None]


def fitted(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Smaller images in the middle of larger black ones, their gray as each color: `shape` is that of an image."""
    edges = [(inside // 2, inside - inside // 2) for inside in np.subtract(shape[:2], images.shape[1:3])]
    padded = np.pad(images, [(0, 0), *edges, (0, 0)])
    return np.broadcast_to(padded, (len(images), *shape)) if images.shape[3] == 1 else padded
