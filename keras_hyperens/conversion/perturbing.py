"""Synthetic inputs and weights for the comparison of a layer with its graph."""

from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

Size = tuple[int, int]  # batch size, length of unknown axes
SIZES: tuple[Size, ...] = ((3, 16), (3, 64), (3, 4), (64, 16))  # in order; windows of images are multiples of samples


def made_up(spec: Any, rows: int, length: int) -> Any:
    """Returns a batch for a symbolic tensor: numbers around zero, or zeros and ones for integers and strings."""
    unknown = {0: rows}
    shape = [unknown.get(place, length) if axis is None else axis for place, axis in enumerate(spec.shape)]
    generator = np.random.default_rng(0)
    dtype = keras.backend.standardize_dtype(spec.dtype)
    if "float" in dtype:
        return ops.convert_to_tensor(generator.normal(size=shape), dtype)
    array = generator.integers(0, 2, shape)
    if dtype == "string":
        return ops.convert_to_tensor(array.astype(str), dtype)
    if dtype == "bool" and array.ndim:
        array[..., :1] = 1  # attention needs an unmasked position
    return ops.convert_to_tensor(array, dtype)


@contextmanager
def perturbed(weights: Iterable[keras.Variable]) -> Iterator[None]:
    """Context manager: floating-point weights have other values; positive ones stay positive."""
    generator = np.random.default_rng(1)
    floats = [weight for weight in weights if "float" in keras.backend.standardize_dtype(weight.dtype)]
    before = [ops.convert_to_numpy(weight) for weight in floats]
    try:
        for weight, value in zip(floats, before, strict=True):
            weight.assign(value * generator.uniform(0.5, 1.5, value.shape) + 0.1 * generator.random(value.shape))
        yield
    finally:
        for weight, value in zip(floats, before, strict=True):
            weight.assign(value)
